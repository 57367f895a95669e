import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { isOlder } from "../engine/client.ts";
import { type Column, formatList } from "../format/list.ts";
import { humanSize } from "../format/units.ts";
import { confirm } from "../io/ask.ts";
import { print, writeAll } from "../io/output.ts";
import { FILTER_FLAG, parseFilters } from "./filters.ts";
import { forEachName } from "./parallel.ts";

const TABLE = "table {{.Driver}}\t{{.Name}}";

interface Volume {
  Name: string;
  Driver: string;
  Scope: string;
  Mountpoint: string;
  Labels: Record<string, string> | null;
}

export const createVolume: Command = {
  name: "docker volume create",
  usage: "[OPTIONS] [VOLUME]",
  summary: "Create a volume",
  arity: { min: 0, max: 1 },
  flags: [
    { name: "driver", short: "d", kind: "string", help: 'Specify volume driver name (default "local")' },
    { name: "label", kind: "list", help: "Set metadata for a volume" },
    { name: "name", kind: "string", help: "Specify volume name" },
    { name: "opt", short: "o", kind: "list", help: "Set driver specific options" },
  ],
  unsupported: [
    "--availability",
    "--group",
    "--limit-bytes",
    "--required-bytes",
    "--scope",
    "--secret",
    "--sharing",
    "--topology-preferred",
    "--topology-required",
    "--type",
  ],
  async run({ client, flags, args: [name] }) {
    if (name !== undefined && flags.has("name"))
      throw new CliError(
        "conflicting options: cannot specify a volume name through both --name and as a positional arg",
      );
    const { Name } = await client.json<Volume>({
      method: "POST",
      path: "/volumes/create",
      json: {
        Driver: flags.string("driver") || "local",
        DriverOpts: pairs(flags.list("opt")),
        Labels: pairs(flags.list("label")),
        Name: name ?? flags.string("name"),
      },
    });
    print(Name);
    return 0;
  },
};

export const listVolumes: Command = {
  name: "docker volume ls",
  usage: "[OPTIONS]",
  summary: "List volumes",
  arity: { min: 0, max: 0 },
  flags: [
    FILTER_FLAG,
    {
      name: "format",
      kind: "string",
      help: "Format output using a custom template: 'table', 'json' or a Go template",
    },
    { name: "quiet", short: "q", kind: "bool", help: "Only display volume names" },
  ],
  unsupported: ["--cluster"],
  async run({ client, flags }) {
    const { Volumes, Warnings } = await client.json<{ Volumes: Volume[] | null; Warnings: string[] | null }>({
      path: "/volumes",
      query: { filters: parseFilters(flags.list("filter")) },
    });
    const volumes = [...(Volumes ?? [])].sort((a, b) => (a.Name < b.Name ? -1 : 1));
    const format = flags.string("format") || "table";
    const labels = ({ Labels }: Volume) => Labels;
    const quiet = flags.bool("quiet");
    writeAll(
      1,
      formatList(volumes, {
        type: "*formatter.volumeContext",
        columns: COLUMNS,
        labels,
        format,
        usual: TABLE,
        quiet,
      }),
    );
    for (const warning of Warnings ?? []) writeAll(2, `WARNING: ${warning}\n`);
    return 0;
  },
};

const unknown = () => "N/A";

const COLUMNS: Readonly<Record<string, Column<Volume>>> = {
  Availability: { header: "AVAILABILITY", value: unknown },
  Driver: { header: "DRIVER", value: ({ Driver }) => Driver },
  Group: { header: "GROUP", value: unknown },
  // By which `-q` finds what it shows.
  ID: { header: "VOLUME NAME", value: ({ Name }) => Name },
  Labels: {
    header: "LABELS",
    value: ({ Labels }) =>
      Object.entries(Labels ?? {})
        .map((entry) => entry.join("="))
        .sort()
        .join(","),
  },
  Links: { header: "LINKS", value: unknown },
  Mountpoint: { header: "MOUNTPOINT", value: ({ Mountpoint }) => Mountpoint },
  Name: { header: "VOLUME NAME", value: ({ Name }) => Name },
  Scope: { header: "SCOPE", value: ({ Scope }) => Scope },
  Size: { header: "SIZE", value: unknown },
  Status: { header: "STATUS", value: unknown },
};

export const removeVolumes: Command = {
  name: "docker volume rm",
  usage: "[OPTIONS] VOLUME [VOLUME...]",
  summary: "Remove one or more volumes",
  arity: { min: 1 },
  flags: [{ name: "force", short: "f", kind: "bool", help: "Force the removal of one or more volumes" }],
  run({ client, args, flags }) {
    const query = { force: flags.bool("force") ? 1 : undefined };
    return forEachName(args, (name) =>
      client.text({ method: "DELETE", path: `/volumes/${encodeURIComponent(name)}`, query }),
    );
  },
};

export const pruneVolumes: Command = {
  name: "docker volume prune",
  usage: "[OPTIONS]",
  summary: "Remove unused local volumes",
  arity: { min: 0, max: 0 },
  flags: [
    { name: "all", short: "a", kind: "bool", help: "Remove all unused volumes, not just anonymous ones" },
    { name: "filter", kind: "list", value: "filter", help: 'Provide filter values (e.g. "label=<label>")' },
    { name: "force", short: "f", kind: "bool", help: "Do not prompt for confirmation" },
  ],
  async run({ client, flags }) {
    const all = flags.bool("all");
    // Older engines remove all in any case, and don't know the filter.
    const knowsAll = !isOlder(await client.version(), "1.42");
    const what = all || !knowsAll ? "all local volumes" : "anonymous local volumes";
    const warning = `WARNING! This will remove ${what} not used by at least one container.`;
    if (!flags.bool("force") && !confirm(warning)) return 0;
    const filters = [...flags.list("filter"), ...(all && knowsAll ? ["all=true"] : [])];
    const { VolumesDeleted, SpaceReclaimed } = await client.json<{
      VolumesDeleted: string[] | null;
      SpaceReclaimed: number;
    }>({ method: "POST", path: "/volumes/prune", query: { filters: parseFilters(filters) } });
    if (VolumesDeleted?.length) writeAll(1, `Deleted Volumes:\n${VolumesDeleted.join("\n")}\n\n`);
    print(`Total reclaimed space: ${humanSize(SpaceReclaimed)}`);
    return 0;
  },
};

function pairs(list: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    list.map((text) => {
      const equals = text.indexOf("=");
      return equals < 0 ? [text, ""] : [text.slice(0, equals), text.slice(equals + 1)];
    }),
  );
}
