import { errorCode } from "@longshore/errors";
import type { Engine } from "../engine.ts";
import type { Filters } from "../http/filters.ts";
import { ownBytes } from "./container-size.ts";
import { isRunning } from "./container-status.ts";
import { removeContainer } from "./remove-container.ts";

export const PRUNE_CONTAINERS_FILTERS = ["label", "label!", "until"] as const;

/** Remove all containers that don't run and that fit the filters, and say how many bytes of their own they had. */
export async function pruneContainers(engine: Engine, filters: Filters): Promise<object> {
  const until = filters.until();
  const removed: string[] = [];
  let reclaimed = 0;
  for (const container of engine.containers.list()) {
    const { state, created, config } = container.record;
    if (isRunning(state.status)) continue;
    if (until !== undefined && BigInt(Date.parse(created)) * 1_000_000n > until) continue;
    if (!filters.matchLabels(config.Labels)) continue;
    if (filters.has("label!") && filters.matchLabels(config.Labels, "label!")) continue;
    const bytes = await ownBytes(engine, container.id);
    try {
      await removeContainer(engine, container);
    } catch (error) {
      if (!["not_found", "conflict"].includes(errorCode(error))) throw error;
      continue; // gone, started or being removed by now
    }
    removed.push(container.id);
    reclaimed += bytes;
  }
  engine.events.emit("container", "prune", "", { reclaimed: String(reclaimed) });
  return { ContainersDeleted: removed.length > 0 ? removed : null, SpaceReclaimed: reclaimed };
}
