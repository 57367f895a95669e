import type { Command } from "../command.ts";
import type { EngineClient } from "../engine/client.ts";
import type { Flag } from "../flags.ts";
import { humanSize } from "../format/units.ts";
import { confirm } from "../io/ask.ts";
import { print, writeAll } from "../io/output.ts";
import { parseFilters } from "./filters.ts";

const FLAGS: readonly Flag[] = [
  { name: "force", short: "f", kind: "bool", help: "Do not prompt for confirmation" },
  {
    name: "filter",
    kind: "list",
    value: "filter",
    help: 'Provide filter values (e.g. "until=<timestamp>")',
  },
];

export const pruneImages: Command = {
  name: "docker image prune",
  usage: "[OPTIONS]",
  summary: "Remove unused images",
  arity: { min: 0, max: 0 },
  flags: [
    {
      name: "all",
      short: "a",
      kind: "bool",
      help: "Remove all unused images, not just dangling ones",
    },
    ...FLAGS,
  ],
  async run({ client, flags }) {
    const all = flags.bool("all");
    const what = all ? "images without at least one container associated to them" : "dangling images";
    if (!flags.bool("force") && !confirm(`WARNING! This will remove all ${what}.`)) return 0;
    const dangling = `dangling=${!all}`;
    const filters = parseFilters([...flags.list("filter"), dangling]);
    const pruned = await prune<{ Untagged?: string; Deleted?: string }>(client, "images", filters);
    if (pruned.removed.length > 0) print("Deleted Images:");
    for (const { Untagged, Deleted } of pruned.removed) {
      print(Untagged ? `untagged: ${Untagged}` : `deleted: ${Deleted}`);
    }
    if (pruned.removed.length > 0) print("");
    print(`Total reclaimed space: ${humanSize(pruned.bytes)}`);
    return 0;
  },
};

export const pruneContainers: Command = {
  name: "docker container prune",
  usage: "[OPTIONS]",
  summary: "Remove all stopped containers",
  arity: { min: 0, max: 0 },
  flags: FLAGS,
  async run({ client, flags }) {
    if (!flags.bool("force") && !confirm("WARNING! This will remove all stopped containers.")) return 0;
    const pruned = await prune<string>(client, "containers", parseFilters(flags.list("filter")));
    if (pruned.removed.length > 0) writeAll(1, `Deleted Containers:\n${pruned.removed.join("\n")}\n\n`);
    print(`Total reclaimed space: ${humanSize(pruned.bytes)}`);
    return 0;
  },
};

async function prune<T>(
  client: EngineClient,
  kind: "images" | "containers",
  filters: string | undefined,
): Promise<{ removed: readonly T[]; bytes: number }> {
  const answer = await client.json<{
    ImagesDeleted?: T[] | null;
    ContainersDeleted?: T[] | null;
    SpaceReclaimed: number;
  }>({ method: "POST", path: `/${kind}/prune`, query: { filters } });
  return {
    removed: answer.ImagesDeleted ?? answer.ContainersDeleted ?? [],
    bytes: answer.SpaceReclaimed,
  };
}
