import { COMMIT, VERSION } from "@longshore/cli";
import type { Command } from "../command.ts";
import { API_VERSION, type EngineClient } from "../engine/client.ts";
import { checkTemplate, printTyped } from "../format/template.ts";
import { print } from "../io/output.ts";
import { VERSION_TYPE } from "./info-types.ts";

interface ServerVersion {
  Platform?: { Name?: string };
  Version: string;
  ApiVersion: string;
  MinAPIVersion?: string;
  GitCommit: string;
  GoVersion?: string;
  Os: string;
  Arch: string;
  BuildTime?: string;
  Experimental?: boolean;
  Components?: { Name: string; Version: string; Details?: Record<string, string> | null }[] | null;
}

export const version: Command = {
  name: "docker version",
  usage: "[OPTIONS]",
  summary: "Show the Docker version information",
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
    if (format !== "json") checkTemplate(format, "version");
    const { server, failure } = await ask(client);
    const clientPart = {
      ...clientVersion(client.host.context),
      ApiVersion: await client.version().catch(() => API_VERSION),
    };
    const whole = { Client: clientPart, Server: server ?? null };
    try {
      if (format === "json") print(JSON.stringify(whole));
      else if (format) printTyped(format, whole, VERSION_TYPE, "version");
      else {
        print(clientText(clientPart));
        if (server) print(`\n${serverText(server)}`);
      }
    } catch (error) {
      throw failure ?? error;
    }
    if (failure) throw failure;
    return 0;
  },
};

export interface ClientVersion {
  Platform: { Name: string };
  Version: string;
  DefaultAPIVersion: string;
  GitCommit: string;
  GoVersion: string;
  Os: string;
  Arch: string;
  BuildTime: string;
  Context: string;
  Runtime: string;
}

/** What this client is, in use with a context. */
export function clientVersion(context: string): ClientVersion {
  return {
    Platform: { Name: "Longshore" },
    Version: VERSION,
    DefaultAPIVersion: API_VERSION,
    GitCommit: COMMIT,
    GoVersion: "",
    Os: "linux",
    Arch: goArch(),
    BuildTime: "",
    Context: context,
    Runtime: `Bun ${Bun.version}`,
  };
}

async function ask(client: EngineClient): Promise<{ server?: ServerVersion; failure?: unknown }> {
  try {
    return { server: await client.json<ServerVersion>({ path: "/version" }) };
  } catch (failure) {
    return { failure };
  }
}

export function goArch(): string {
  return process.arch === "x64" ? "amd64" : process.arch;
}

const LABEL_WIDTH = 19;

function lines(entries: readonly (readonly [string, string | undefined])[], indent: number): string[] {
  return entries.flatMap(([label, value]) =>
    value ? [`${" ".repeat(indent)}${`${label}:`.padEnd(LABEL_WIDTH - indent + 1)}${value}`] : [],
  );
}

function clientText(part: ClientVersion & { ApiVersion: string }): string {
  const api =
    part.ApiVersion === API_VERSION ? API_VERSION : `${part.ApiVersion} (downgraded from ${API_VERSION})`;
  return [
    "Client: Longshore",
    ...lines(
      [
        ["Version", part.Version],
        ["API version", api],
        ["Runtime", part.Runtime],
        ["Git commit", part.GitCommit],
        ["OS/Arch", `${part.Os}/${part.Arch}`],
        ["Context", part.Context],
      ],
      1,
    ),
  ].join("\n");
}

function serverText(server: ServerVersion): string {
  const name = server.Platform?.Name;
  const components = server.Components?.length
    ? server.Components
    : [{ Name: "Engine", Version: server.Version, Details: engineDetails(server) }];
  return [
    name ? `Server: ${name}` : "Server:",
    ...components.flatMap(({ Name, Version, Details }) => [
      ` ${Name}:`,
      ...lines([["Version", Version], ...componentLines(Name, Details ?? {})], 2),
    ]),
  ].join("\n");
}

function engineDetails(server: ServerVersion): Record<string, string> {
  const { ApiVersion, MinAPIVersion = "", GitCommit, GoVersion = "", BuildTime = "", Os, Arch } = server;
  const Experimental = String(server.Experimental ?? false);
  return { ApiVersion, MinAPIVersion, GitCommit, GoVersion, BuildTime, Os, Arch, Experimental };
}

function componentLines(name: string, details: Record<string, string>): [string, string | undefined][] {
  if (name !== "Engine") return [["GitCommit", details.GitCommit]];
  const { ApiVersion, MinAPIVersion } = details;
  return [
    ["API version", `${ApiVersion}${MinAPIVersion ? ` (minimum version ${MinAPIVersion})` : ""}`],
    ["Go version", details.GoVersion],
    ["Git commit", details.GitCommit],
    ["Built", details.BuildTime ? reformatted(details.BuildTime) : undefined],
    ["OS/Arch", `${details.Os}/${details.Arch}`],
    ["Experimental", details.Experimental],
  ];
}

/** An RFC 3339 time as C's asctime writes it, which is what people know from Docker. */
function reformatted(time: string): string {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return time;
  const [day, month, number, year, clock] = date
    .toUTCString()
    .replace(",", "")
    .split(" ")
    .map((part, i, all) => (i === 1 ? all[2] : i === 2 ? String(Number(all[1])).padStart(2) : part));
  return `${day} ${month} ${number} ${clock} ${year}`;
}
