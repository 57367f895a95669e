import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { type EngineClient, isOlder } from "../engine/client.ts";
import type { FlagValues } from "../flags.ts";
import { humanSize } from "../format/units.ts";
import { confirm } from "../io/ask.ts";
import { print, writeAll } from "../io/output.ts";
import { parseFilters } from "./filters.ts";

/** What one kind of thing had that nobody uses. */
interface Pruned {
  title: string;
  lines: readonly string[];
  bytes: number;
}

interface PruneAnswer {
  ContainersDeleted?: string[] | null;
  VolumesDeleted?: string[] | null;
  NetworksDeleted?: string[] | null;
  ImagesDeleted?: { Untagged?: string; Deleted?: string }[] | null;
  CachesDeleted?: string[] | null;
  SpaceReclaimed?: number;
}

export const pruneSystem: Command = {
  name: "docker system prune",
  usage: "[OPTIONS]",
  summary: "Remove unused data",
  arity: { min: 0, max: 0 },
  flags: [
    {
      name: "all",
      short: "a",
      kind: "bool",
      help: "Remove all unused images not just dangling ones",
    },
    {
      name: "filter",
      kind: "list",
      value: "filter",
      help: 'Provide filter values (e.g. "label=<key>=<value>")',
    },
    { name: "force", short: "f", kind: "bool", help: "Do not prompt for confirmation" },
    { name: "volumes", kind: "bool", help: "Prune anonymous volumes" },
  ],
  async run({ client, flags }) {
    const given = flags.list("filter");
    if (flags.bool("volumes") && given.some((filter) => filter.startsWith("until="))) {
      throw new CliError('ERROR: The "until" filter is not supported with "--volumes"');
    }
    if (!flags.bool("force") && !confirm(await warning(client, flags))) return 0;
    let bytes = 0;
    for (const prune of [containers, volumes, networks, images, buildCache]) {
      const pruned = await prune(client, flags);
      if (pruned.lines.length > 0) writeAll(1, `${pruned.title}\n${pruned.lines.join("\n")}\n\n`);
      bytes += pruned.bytes;
    }
    print(`Total reclaimed space: ${humanSize(bytes)}`);
    return 0;
  },
};

async function warning(client: EngineClient, flags: FlagValues): Promise<string> {
  const all = flags.bool("all");
  const allVolumes = isOlder(await client.version(), "1.42");
  const filters = flags.list("filter");
  return [
    "WARNING! This will remove:",
    "  - all stopped containers",
    "  - all networks not used by at least one container",
    ...(flags.bool("volumes")
      ? [`  - all ${allVolumes ? "" : "anonymous "}volumes not used by at least one container`]
      : []),
    all ? "  - all images without at least one container associated to them" : "  - all dangling images",
    all ? "  - all build cache" : "  - unused build cache",
    ...(filters.length > 0
      ? ["", "  Items to be pruned will be filtered with:", ...filters.map((filter) => `  - ${filter}`)]
      : []),
    "",
  ].join("\n");
}

const ask = (client: EngineClient, path: string, filters: readonly string[], query = {}) =>
  client.json<PruneAnswer>({ method: "POST", path, query: { filters: parseFilters(filters), ...query } });

async function containers(client: EngineClient, flags: FlagValues): Promise<Pruned> {
  const answer = await ask(client, "/containers/prune", flags.list("filter"));
  return shown("Deleted Containers:", answer.ContainersDeleted, answer);
}

async function volumes(client: EngineClient, flags: FlagValues): Promise<Pruned> {
  if (!flags.bool("volumes")) return shown("", [], {});
  const answer = await ask(client, "/volumes/prune", flags.list("filter"));
  return shown("Deleted Volumes:", answer.VolumesDeleted, answer);
}

async function networks(client: EngineClient, flags: FlagValues): Promise<Pruned> {
  const answer = await ask(client, "/networks/prune", flags.list("filter"));
  return shown("Deleted Networks:", answer.NetworksDeleted, answer);
}

async function images(client: EngineClient, flags: FlagValues): Promise<Pruned> {
  const answer = await ask(client, "/images/prune", [
    ...flags.list("filter"),
    `dangling=${!flags.bool("all")}`,
  ]);
  const lines = (answer.ImagesDeleted ?? []).map(({ Untagged, Deleted }) =>
    Untagged ? `untagged: ${Untagged}` : `deleted: ${Deleted}`,
  );
  return shown("Deleted Images:", lines, answer);
}

async function buildCache(client: EngineClient, flags: FlagValues): Promise<Pruned> {
  if (isOlder(await client.version(), "1.31")) return shown("", [], {});
  const query = flags.bool("all") ? { all: "1" } : {};
  const answer = await ask(client, "/build/prune", flags.list("filter"), query);
  return shown("Deleted build cache objects:", answer.CachesDeleted, answer);
}

function shown(title: string, lines: readonly string[] | null | undefined, answer: PruneAnswer): Pruned {
  return { title, lines: lines ?? [], bytes: answer.SpaceReclaimed ?? 0 };
}
