import { resctrlRoot, updateRdt } from "@longshore/cgroups";
import { EngineError } from "@longshore/errors";
import { exists } from "@longshore/syscalls";
import { type Command, type Globals, idOf } from "../command.ts";
import type { Parsed } from "../flags.ts";
import { containerFor } from "../lifecycle.ts";
import { log } from "../log.ts";
import type { Container } from "../state.ts";
import { requestedResources, updateGroup } from "../update.ts";

export { runtime } from "../runtime.ts";

/** Shares of caches and memory bandwidth, which are no part of the resources. */
function updateSchemata({ values }: Parsed, { saved }: Container): void {
  const l3CacheSchema = values.get("l3-cache-schema");
  const memBwSchema = values.get("mem-bw-schema");
  if (!l3CacheSchema && !memBwSchema) return;
  const root = resctrlRoot();
  const refuse = (words: string): never => {
    throw new EngineError("unimplemented", words);
  };
  if (l3CacheSchema && (root === undefined || !exists(`${root}/info/L3`))) {
    refuse("Intel RDT/CAT: l3 cache schema is not enabled");
  }
  if (memBwSchema && (root === undefined || !exists(`${root}/info/MB`))) {
    refuse("Intel RDT/MBA: memory bandwidth schema is not enabled");
  }
  if (!saved.intelRdt) refuse("updating a non-existent Intel RDT configuration is not supported");
  else
    updateRdt(saved.intelRdt, {
      ...(l3CacheSchema && { l3CacheSchema }),
      ...(memBwSchema && { memBwSchema }),
    });
}

function update(parsed: Parsed, { root }: Globals): number {
  const container = containerFor("update", root, idOf(parsed));
  for (const words of updateGroup(container.group, requestedResources(parsed))) log("warning", words);
  updateSchemata(parsed, container);
  return 0;
}

const VALUES = [
  "cpu-period",
  "cpu-quota",
  "cpu-burst",
  "cpu-share",
  "cpu-rt-period",
  "cpu-rt-runtime",
  "cpuset-cpus",
  "cpuset-mems",
  "kernel-memory",
  "kernel-memory-tcp",
  "memory",
  "memory-reservation",
  "memory-swap",
  "cpu-idle",
  "l3-cache-schema",
  "mem-bw-schema",
  "resources",
];

export const commands: Record<string, Command> = {
  update: {
    flags: {
      ...Object.fromEntries(VALUES.map((name) => [name, "value" as const])),
      "blkio-weight": "number",
      "pids-limit": "number",
    },
    aliases: { r: "resources" },
    args: [1, 1],
    usage: "change a container's limits",
    run: update,
  },
};
