import { EngineError } from "@longshore/errors";
import type { Engine } from "../engine.ts";
import type { Filters } from "../http/filters.ts";
import { parseTime } from "../http/time.ts";
import { renameOnNetworks } from "../networks/join-network.ts";
import type { Container } from "./container.ts";
import { emitContainerEvent } from "./container-events.ts";
import { saveRecord } from "./container-record.ts";
import { isRunning } from "./container-status.ts";
import { checkName } from "./names.ts";
import { removeContainer } from "./remove-container.ts";

/** @throws EngineError `invalid_argument` for a bad name, `conflict` for a taken one */
export function renameContainer(engine: Engine, container: Container, given: string): Promise<void> {
  return container.lock.run(async () => {
    if (given === "") throw new EngineError("invalid_argument", "Neither old nor new names may be empty");
    const name = checkName(given);
    const { name: oldName } = container.record;
    if (name === oldName) {
      throw new EngineError(
        "invalid_argument",
        "Renaming a container with the same name as its current name",
      );
    }
    await engine.store.check();
    engine.containers.reserve(name, container.id);
    container.record = { ...container.record, name };
    try {
      await saveRecord(engine, container);
    } catch (error) {
      container.record = { ...container.record, name: oldName };
      engine.containers.release(name, container.id);
      throw error;
    }
    engine.containers.release(oldName, container.id);
    await renameOnNetworks(engine, container);
    emitContainerEvent(engine, container, "rename", { oldName: `/${oldName}` });
  });
}

/** Remove all containers that don't run and that fit the filters. */
export async function pruneContainers(engine: Engine, filters: Filters): Promise<object> {
  const [untilText] = filters.get("until");
  const until = untilText === undefined ? undefined : parseTime(untilText);
  const removed: string[] = [];
  for (const container of engine.containers.list()) {
    const { state, created, config } = container.record;
    if (isRunning(state.status)) continue;
    if (until !== undefined && BigInt(Date.parse(created)) * 1_000_000n > until) continue;
    if (!filters.matchLabels(config.Labels)) continue;
    if (filters.has("label!") && filters.matchLabels(config.Labels, "label!")) continue;
    await removeContainer(engine, container);
    removed.push(container.id);
  }
  engine.events.emit("container", "prune", "", { reclaimed: "0" });
  return { ContainersDeleted: removed.length > 0 ? removed : null, SpaceReclaimed: 0 };
}
