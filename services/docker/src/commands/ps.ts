import { familiarName, familiarString, tryParseReference } from "@longshore/reference";
import type { Command } from "../command.ts";
import type { ContainerSummary, Port } from "../engine/types.ts";
import { checkInteger } from "../flags.ts";
import { type Column, formatList } from "../format/list.ts";
import { ellipsis, goQuote, goTime, shortId } from "../format/text.ts";
import { humanDuration, humanSize } from "../format/units.ts";
import { writeAll } from "../io/output.ts";
import { FILTER_FLAG, parseFilters } from "./filters.ts";

const DEFAULT_FORMAT =
  "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

export const ps: Command = {
  name: "docker ps",
  usage: "[OPTIONS]",
  summary: "List containers",
  arity: { min: 0, max: 0 },
  flags: [
    { name: "all", short: "a", kind: "bool", help: "Show all containers (default shows just running)" },
    FILTER_FLAG,
    {
      name: "format",
      kind: "string",
      help: "Format output using a custom template: 'table', 'json' or a Go template",
    },
    {
      name: "last",
      short: "n",
      kind: "string",
      value: "int",
      help: "Show n last created containers (includes all states)",
      check: checkInteger,
    },
    {
      name: "latest",
      short: "l",
      kind: "bool",
      help: "Show the latest created container (includes all states)",
    },
    { name: "no-trunc", kind: "bool", help: "Don't truncate output" },
    { name: "quiet", short: "q", kind: "bool", help: "Only display container IDs" },
    { name: "size", short: "s", kind: "bool", help: "Display total file sizes" },
  ],
  async run({ client, flags }) {
    const last = Number(flags.string("last") || -1);
    const limit = flags.bool("latest") && last === -1 ? 1 : last;
    const size = flags.bool("size") || /\.Size\b/.test(flags.string("format"));
    const containers = await client.json<ContainerSummary[]>({
      path: "/containers/json",
      query: {
        all: flags.bool("all") ? 1 : undefined,
        limit: limit > 0 ? limit : undefined,
        size: size ? 1 : undefined,
        filters: parseFilters(flags.list("filter")),
      },
    });
    const format = flags.string("format");
    const usual = size ? `${DEFAULT_FORMAT}\t{{.Size}}` : DEFAULT_FORMAT;
    const columns = containerColumns(!flags.bool("no-trunc"), Date.now());
    writeAll(
      1,
      formatList(containers, {
        type: "*formatter.ContainerContext",
        ...{ columns, usual, labels: ({ Labels }) => Labels },
        format: format || "table",
        quiet: flags.bool("quiet"),
      }),
    );
    return 0;
  },
};

/** The fields of `ps` templates. */
export function containerColumns(
  trunc: boolean,
  now: number,
): Readonly<Record<string, Column<ContainerSummary>>> {
  return {
    Command: { header: "COMMAND", value: (c) => goQuote(trunc ? ellipsis(c.Command, 20) : c.Command) },
    CreatedAt: { header: "CREATED AT", value: (c) => goTime(c.Created) },
    HealthStatus: { header: "HEALTH STATUS", value: healthOf },
    ID: { header: "CONTAINER ID", value: (c) => (trunc ? shortId(c.Id) : c.Id) },
    Image: { header: "IMAGE", value: (c) => imageOf(c, trunc) },
    Labels: {
      header: "LABELS",
      value: (c) =>
        Object.entries(c.Labels ?? {})
          .map((e) => e.join("="))
          .sort()
          .join(","),
    },
    LocalVolumes: {
      header: "LOCAL VOLUMES",
      value: (c) => String((c.Mounts ?? []).filter(({ Driver }) => Driver === "local").length),
    },
    Mounts: {
      header: "MOUNTS",
      value: (c) =>
        (c.Mounts ?? [])
          .map(({ Name, Source = "" }) => (trunc ? ellipsis(Name || Source, 15) : Name || Source))
          .join(","),
    },
    Names: { header: "NAMES", value: (c) => namesOf(c, trunc) },
    Networks: { header: "NETWORKS", value: (c) => Object.keys(c.NetworkSettings?.Networks ?? {}).join(",") },
    Platform: { header: "PLATFORM", value: () => null },
    Ports: { header: "PORTS", value: (c) => formatPorts(c.Ports ?? []) },
    RunningFor: { header: "CREATED", value: (c) => `${humanDuration(now - c.Created * 1000)} ago` },
    Size: { header: "SIZE", value: sizeOf },
    State: { header: "STATE", value: (c) => c.State },
    Status: { header: "STATUS", value: (c) => c.Status },
  };
}

function namesOf({ Names }: ContainerSummary, trunc: boolean): string {
  const names = (Names ?? []).map((name) => name.replace(/^\//, ""));
  return trunc ? (names.find((name) => !name.includes("/")) ?? "") : names.join(",");
}

function imageOf({ Image, ImageID }: ContainerSummary, trunc: boolean): string {
  if (Image === "") return "<no image>";
  if (!trunc) return Image;
  const id = shortId(ImageID);
  if (id === shortId(Image)) return id;
  const reference = tryParseReference(Image);
  if (!reference) return Image;
  // A digest is left out; so is nothing else.
  if (reference.digest === undefined) return familiarString(reference);
  return familiarName(reference) + (reference.tag === undefined ? "" : `:${reference.tag}`);
}

/** Engines before API 1.52 tell of health in words alone: `Up 5 seconds (health: starting)`. */
function healthOf({ Health, Status }: ContainerSummary): string {
  return Health?.Status || (/\((?:health: )?(healthy|unhealthy|starting)\)$/.exec(Status)?.[1] ?? "");
}

function sizeOf({ SizeRw = 0, SizeRootFs = 0 }: ContainerSummary): string {
  const own = humanSize(SizeRw, 3);
  return SizeRootFs > 0 ? `${own} (virtual ${humanSize(SizeRootFs, 3)})` : own;
}

/** `0.0.0.0:80->8080/tcp, 9000-9002/tcp`: runs of ports that map to themselves are joined. */
export function formatPorts(ports: readonly Port[]): string {
  const sorted = [...ports].sort(
    (a, b) =>
      a.PrivatePort - b.PrivatePort ||
      compare(a.IP ?? "", b.IP ?? "") ||
      (a.PublicPort ?? 0) - (b.PublicPort ?? 0) ||
      compare(a.Type, b.Type),
  );
  const mapped: string[] = [];
  const groups = new Map<string, { first: number; last: number }[]>();
  for (const { IP, PrivatePort, PublicPort, Type } of sorted) {
    if (IP && PublicPort !== PrivatePort) {
      const host = IP.includes(":") ? `[${IP}]` : IP;
      mapped.push(`${host}:${PublicPort ?? 0}->${PrivatePort}/${Type}`);
      continue;
    }
    const key = IP ? `${IP}/${Type}` : Type;
    const runs = groups.get(key) ?? [];
    const run = runs.at(-1);
    if (run && (PrivatePort === run.last || PrivatePort === run.last + 1)) run.last = PrivatePort;
    else runs.push({ first: PrivatePort, last: PrivatePort });
    groups.set(key, runs);
  }
  const joined = [...groups].flatMap(([key, runs]) => runs.map((run) => formatRun(key, run)));
  return [...joined, ...mapped].join(", ");
}

function formatRun(key: string, { first, last }: { first: number; last: number }): string {
  const [ip, type] = key.includes("/") ? key.split("/") : ["", key];
  const range = first === last ? String(first) : `${first}-${last}`;
  if (!ip) return `${range}/${type}`;
  return `${ip.includes(":") ? `[${ip}]` : ip}:${range}->${range}/${type}`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
