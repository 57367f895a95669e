import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { EngineRefusal } from "../engine/client.ts";
import { isEnough, printTyped } from "../format/template.ts";
import { binarySize } from "../format/units.ts";
import { print, printError } from "../io/output.ts";
import { CLIENT_INFO_TYPE, INFO_TYPE } from "./info-types.ts";
import { type ClientVersion, clientVersion } from "./version.ts";

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
  Plugins?: Partial<Record<"Volume" | "Network" | "Authorization" | "Log", string[] | null>> | null;
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
  NFd?: number;
  NGoroutines?: number;
  SystemTime?: string;
  NEventsListener?: number;
  HttpProxy?: string;
  HttpsProxy?: string;
  NoProxy?: string;
  Labels?: string[] | null;
  ExperimentalBuild: boolean;
  RegistryConfig?: { InsecureRegistryCIDRs?: string[] | null; Mirrors?: string[] | null } | null;
  LiveRestoreEnabled: boolean;
  ProductLicense?: string;
  DefaultAddressPools?: { Base: string; Size: number }[] | null;
  FirewallBackend?: { Driver: string; Info?: [string, string][] | null } | null;
  CDISpecDirs?: string[] | null;
  DiscoveredDevices?: { Source: string; ID: string }[] | null;
  NRI?: { Info?: [string, string][] | null } | null;
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
    const ask = () => client.json<Info>({ path: "/info" });
    const ours = clientVersion(client.host.context);
    if (format) return printFormatted(format, ours, ask);
    const { Version, Context } = ours;
    print(
      `Client: Longshore\n Version:    ${Version}\n Context:    ${Context}\n Debug Mode: false\n\nServer:`,
    );
    const server = await ask();
    print(serverText(server));
    for (const warning of server.Warnings ?? []) printError(warning);
    return 0;
  },
};

/** What the engine refuses is told, and goes into the fields for it; the rest is shown also without an engine, and then that fails. */
async function printFormatted(
  format: string,
  ours: ClientVersion,
  ask: () => Promise<Info>,
): Promise<number> {
  const whole = { ClientInfo: { Debug: false, ...ours, Plugins: [], Warnings: null } };
  const template = format === "json" ? "{{json .}}" : format;
  const isOurs = format !== "json" && isEnough(format, whole, CLIENT_INFO_TYPE);
  const { info, failure } = isOurs ? {} : await answerOf(ask);
  const refusal = failure instanceof EngineRefusal ? failure.message : undefined;
  if (refusal !== undefined) printError(refusal);
  const messages = failure && refusal === undefined ? [failure.message] : [];
  let exitCode = messages.length === 0 ? 0 : 1;
  try {
    const errors = refusal === undefined ? {} : { ServerErrors: [refusal] };
    printTyped(template, { ...info, ...errors, ...whole }, INFO_TYPE);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    messages.push(error.message);
    exitCode = error.exitCode;
  }
  if (messages.length > 0) throw new CliError(messages.join("\n"), exitCode);
  return 0;
}

async function answerOf(
  ask: () => Promise<Info>,
): Promise<{ info?: Info; failure?: CliError | EngineRefusal }> {
  try {
    return { info: await ask() };
  } catch (error) {
    if (error instanceof CliError || error instanceof EngineRefusal) return { failure: error };
    throw error;
  }
}

function serverText(info: Info): string {
  const list = (names: readonly string[] | null | undefined) => (names ?? []).join(" ");
  const optional = (label: string, value: string | undefined) => (value ? [` ${label}: ${value}`] : []);
  const listed = (label: string, values: readonly string[] | null | undefined) =>
    values?.length ? [` ${label}:`, ...values.map((value) => `  ${value}`)] : [];
  const pairs = (some: readonly [string, string][] | null | undefined) =>
    (some ?? []).map(([name, value]) => `  ${name}: ${value}`);
  return [
    ` Containers: ${info.Containers}`,
    `  Running: ${info.ContainersRunning}`,
    `  Paused: ${info.ContainersPaused}`,
    `  Stopped: ${info.ContainersStopped}`,
    ` Images: ${info.Images}`,
    ` Server Version: ${info.ServerVersion}`,
    ` Storage Driver: ${info.Driver}`,
    ...pairs(info.DriverStatus),
    ...optional("Logging Driver", info.LoggingDriver),
    ...optional("Cgroup Driver", info.CgroupDriver),
    ...optional("Cgroup Version", info.CgroupVersion),
    " Plugins:",
    `  Volume: ${list(info.Plugins?.Volume)}`,
    `  Network: ${list(info.Plugins?.Network)}`,
    ...(info.Plugins?.Authorization?.length ? [`  Authorization: ${list(info.Plugins.Authorization)}`] : []),
    ...(info.Plugins?.Log?.length ? [`  Log: ${list(info.Plugins.Log)}`] : []),
    ...listed("CDI spec directories", info.CDISpecDirs),
    ...listed(
      "Discovered Devices",
      info.DiscoveredDevices?.map(({ Source, ID }) => `${Source}: ${ID}`),
    ),
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
    ...(info.Debug
      ? [
          `  File Descriptors: ${info.NFd}`,
          `  Goroutines: ${info.NGoroutines}`,
          `  System Time: ${info.SystemTime}`,
          `  EventsListeners: ${info.NEventsListener}`,
        ]
      : []),
    ...optional("HTTP Proxy", info.HttpProxy),
    ...optional("HTTPS Proxy", info.HttpsProxy),
    ...optional("No Proxy", info.NoProxy),
    ...listed("Labels", info.Labels),
    ` Experimental: ${info.ExperimentalBuild}`,
    ...listed("Insecure Registries", info.RegistryConfig?.InsecureRegistryCIDRs),
    ...listed("Registry Mirrors", info.RegistryConfig?.Mirrors),
    ` Live Restore Enabled: ${info.LiveRestoreEnabled}`,
    ...optional("Product License", info.ProductLicense),
    ...(info.DefaultAddressPools?.length
      ? [
          " Default Address Pools:",
          ...info.DefaultAddressPools.map(({ Base, Size }) => `   Base: ${Base}, Size: ${Size}`),
        ]
      : []),
    ...(info.FirewallBackend
      ? [` Firewall Backend: ${info.FirewallBackend.Driver}`, ...pairs(info.FirewallBackend.Info)]
      : []),
    ...(info.NRI ? [" NRI:", ...pairs(info.NRI.Info)] : []),
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
