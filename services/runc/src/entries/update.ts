import { type Command, type Globals, idOf } from "../command.ts";
import type { Parsed } from "../flags.ts";
import { containerFor } from "../lifecycle.ts";
import { requestedResources, updateGroup } from "../update.ts";

export { runtime } from "../runtime.ts";

function update(parsed: Parsed, { root }: Globals): number {
  const container = containerFor("update", root, idOf(parsed));
  updateGroup(container.group, requestedResources(parsed));
  return 0;
}

const UPDATE_VALUES = [
  "blkio-weight",
  "cpu-period",
  "cpu-quota",
  "cpu-burst",
  "cpu-share",
  "cpu-rt-period",
  "cpu-rt-runtime",
  "cpuset-cpus",
  "cpuset-mems",
  "memory",
  "memory-reservation",
  "memory-swap",
  "pids-limit",
  "cpu-idle",
  "resources",
];

export const commands: Record<string, Command> = {
  update: {
    flags: Object.fromEntries(UPDATE_VALUES.map((name) => [name, "value" as const])),
    aliases: { r: "resources" },
    args: [1, 1],
    usage: "change a container's limits",
    run: update,
  },
};
