import { COMMIT, VERSION } from "@longshore/cli";
import type { Command } from "../command.ts";
import { API_VERSION, type EngineClient } from "../engine/client.ts";
import { renderTemplate } from "../format/template.ts";
import { print } from "../io/output.ts";

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
    const { server, failure } = await ask(client);
    const clientPart = {
      Platform: { Name: "Longshore" },
      Version: VERSION,
      ApiVersion: server ? await client.version() : API_VERSION,
      DefaultAPIVersion: API_VERSION,
      GitCommit: COMMIT,
      GoVersion: "",
      Runtime: `Bun ${Bun.version}`,
      Os: "linux",
      Arch: goArch(),
      BuildTime: "",
      Context: "default",
    };
    const whole = { Client: clientPart, Server: server ?? null };
    if (format === "json") print(JSON.stringify(whole));
    else if (format) print(renderTemplate(format, whole));
    else {
      print(clientText(clientPart));
      if (server) print(`\n${serverText(server)}`);
    }
    if (failure) throw failure;
    return 0;
  },
};

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

function clientText(
  part: Record<string, unknown> & { Version: string; ApiVersion: string; GitCommit: string },
): string {
  const api =
    part.ApiVersion === API_VERSION ? API_VERSION : `${part.ApiVersion} (downgraded from ${API_VERSION})`;
  return [
    "Client: Longshore",
    ...lines(
      [
        ["Version", part.Version],
        ["API version", api],
        ["Runtime", String(part.Runtime)],
        ["Git commit", part.GitCommit],
        ["OS/Arch", `${part.Os}/${part.Arch}`],
        ["Context", String(part.Context)],
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
