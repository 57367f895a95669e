import type { Change, CommitOptions } from "@longshore/store";
import type { Engine } from "../engine.ts";
import type { Container, ContainerRecord, ContainerState } from "./container.ts";

/** Change a container's state (and what belongs to it), in memory and in the store. */
export async function updateState(
  engine: Engine,
  container: Container,
  state: Partial<ContainerState>,
  rest: Partial<ContainerRecord> = {},
  save: SaveOptions = {},
): Promise<void> {
  const { record } = container;
  container.record = { ...record, ...rest, state: { ...record.state, ...state } };
  await saveRecord(engine, container, save);
}

export interface SaveOptions extends CommitOptions {
  /** What goes into the same commit. */
  also?: readonly Change[];
}

export async function saveRecord(
  engine: Engine,
  container: Container,
  { also = [], ...options }: SaveOptions = {},
): Promise<void> {
  // What has happened to a container is so, whether the store can be reached or not.
  await engine.store.commit([engine.records.put(container.id, container.record), ...also], [], {
    whenAway: "keep",
    ...options,
  });
}
