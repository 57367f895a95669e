import { VERSION } from "@longshore/cli";
import type { Command } from "../command.ts";
import { renderTemplate } from "../format/template.ts";
import { binarySize } from "../format/units.ts";
import { print, printError } from "../io/output.ts";

interface Info {
  Containers: number;
  ContainersRunning: number;
  ContainersPaused: number;
  ContainersStopped: number;
  Images: number;
  ServerVersion: string;
  Driver: string;
  DriverStatus?: [string, string][] | null;
  LoggingDriver: string;
  CgroupDriver: string;
  CgroupVersion?: string;
  Plugins?: { Volume?: string[] | null; Network?: string[] | null; Log?: string[] | null } | null;
  Swarm?: { LocalNodeState?: string } | null;
  Runtimes?: Record<string, unknown> | null;
  DefaultRuntime?: string;
  InitBinary?: string;
  ContainerdCommit?: { ID: string };
  RuncCommit?: { ID: string };
  InitCommit?: { ID: string };
  SecurityOptions?: string[] | null;
  KernelVersion: string;
  OperatingSystem: string;
  OSType: string;
  Architecture: string;
  NCPU: number;
  MemTotal: number;
  Name: string;
  ID: string;
  DockerRootDir: string;
  Debug: boolean;
  ExperimentalBuild: boolean;
  RegistryConfig?: { InsecureRegistryCIDRs?: string[] | null } | null;
  LiveRestoreEnabled: boolean;
  Warnings?: string[] | null;
}

export const info: Command = {
  name: "docker info",
  usage: "[OPTIONS]",
  summary: "Display system-wide information",
  arity: { min: 0, max: 0 },
  flags: [
    {
      name: "format",
      short: "f",
      kind: "string",
      help: "Format output using a custom template: 'json' or a Go template",
    },
  ],
  async run({ client, flags }) {
    const format = flags.string("format");
    const clientInfo = { Version: VERSION, Context: "default", Debug: false };
    if (format) {
      const whole = { ...(await client.json<Info>({ path: "/info" })), ClientInfo: clientInfo };
      print(format === "json" ? JSON.stringify(whole) : renderTemplate(format, whole));
      return 0;
    }
    print(`Client: Longshore\n Version:    ${VERSION}\n Context:    default\n Debug Mode: false\n\nServer:`);
    const server = await client.json<Info>({ path: "/info" });
    print(serverText(server));
    for (const warning of server.Warnings ?? []) printError(warning);
    return 0;
  },
};

function serverText(info: Info): string {
  const list = (names: readonly string[] | null | undefined) => (names ?? []).join(" ");
  const optional = (label: string, value: string | undefined) => (value ? [` ${label}: ${value}`] : []);
  return [
    ` Containers: ${info.Containers}`,
    `  Running: ${info.ContainersRunning}`,
    `  Paused: ${info.ContainersPaused}`,
    `  Stopped: ${info.ContainersStopped}`,
    ` Images: ${info.Images}`,
    ` Server Version: ${info.ServerVersion}`,
    ` Storage Driver: ${info.Driver}`,
    ...(info.DriverStatus ?? []).map(([name, value]) => `  ${name}: ${value}`),
    ...optional("Logging Driver", info.LoggingDriver),
    ...optional("Cgroup Driver", info.CgroupDriver),
    ...optional("Cgroup Version", info.CgroupVersion),
    " Plugins:",
    `  Volume: ${list(info.Plugins?.Volume)}`,
    `  Network: ${list(info.Plugins?.Network)}`,
    ...(info.Plugins?.Log?.length ? [`  Log: ${list(info.Plugins.Log)}`] : []),
    ` Swarm: ${info.Swarm?.LocalNodeState || "inactive"}`,
    ...(info.Runtimes ? [` Runtimes: ${Object.keys(info.Runtimes).sort().join(" ")}`] : []),
    ...optional("Default Runtime", info.DefaultRuntime),
    ...optional("Init Binary", info.InitBinary),
    ...optional("containerd version", info.ContainerdCommit?.ID),
    ...optional("runc version", info.RuncCommit?.ID),
    ...(info.InitCommit ? [` init version: ${info.InitCommit.ID}`] : []),
    ...(info.SecurityOptions?.length
      ? [" Security Options:", ...info.SecurityOptions.flatMap(securityOption)]
      : []),
    ` Kernel Version: ${info.KernelVersion}`,
    ` Operating System: ${info.OperatingSystem}`,
    ` OSType: ${info.OSType}`,
    ` Architecture: ${info.Architecture}`,
    ` CPUs: ${info.NCPU}`,
    ` Total Memory: ${binarySize(info.MemTotal)}`,
    ` Name: ${info.Name}`,
    ` ID: ${info.ID}`,
    ` Docker Root Dir: ${info.DockerRootDir}`,
    ` Debug Mode: ${info.Debug}`,
    ` Experimental: ${info.ExperimentalBuild}`,
    ...(info.RegistryConfig?.InsecureRegistryCIDRs?.length
      ? [" Insecure Registries:", ...info.RegistryConfig.InsecureRegistryCIDRs.map((cidr) => `  ${cidr}`)]
      : []),
    ` Live Restore Enabled: ${info.LiveRestoreEnabled}`,
    "",
  ].join("\n");
}

/** `name=seccomp,profile=builtin` → its name, then what it has. */
function securityOption(option: string): string[] {
  const parts = option.split(",").map((part) => part.split("="));
  return parts.map(([key = "", value = ""]) =>
    key === "name" ? `  ${value}` : `   ${key.charAt(0).toUpperCase()}${key.slice(1)}: ${value}`,
  );
}
