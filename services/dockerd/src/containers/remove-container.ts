import fs from "node:fs";
import path from "node:path";
import { EngineError, errorCode } from "@longshore/errors";
import { withNames } from "@longshore/stdio";
import type { CommitOptions } from "@longshore/store";
import { SNAPSHOTTER } from "../containerd/client.ts";
import { containerDir, type Engine, ioDir } from "../engine.ts";
import { leaveAnonymousVolumes, removeAnonymousVolumes } from "../volumes/prune-volumes.ts";
import { removeImageViews } from "../volumes/start-mounts.ts";
import type { Container } from "./container.ts";
import { emitContainerEvent } from "./container-events.ts";
import { isRunning, nextStatus } from "./container-status.ts";
import { killAndWait } from "./kill-container.ts";
import { killTask } from "./kill-task.ts";

const REMOVE_RETRY_MS = 500;

export interface RemoveOptions {
  /** Kill it when it runs. */
  force?: boolean;
  /** With its volumes that have no name of the user's. */
  volumes?: boolean;
  /** The caller holds the container's lock. */
  locked?: boolean;
}

/**
 * Remove a container with its snapshot, directory and record.
 * @throws EngineError `conflict` in Docker's words while it runs and force isn't set
 */
export async function removeContainer(
  engine: Engine,
  container: Container,
  { force = false, locked = false, volumes = false }: RemoveOptions = {},
): Promise<void> {
  if (isRunning(container.record.state.status)) {
    if (!force) throw new EngineError("conflict", stillRunning(container));
    await killAndWait(engine, container);
  }
  await (locked
    ? remove(engine, container, volumes)
    : container.lock.run(() => remove(engine, container, volumes)));
}

async function remove(engine: Engine, container: Container, volumes: boolean): Promise<void> {
  const { id } = container;
  if (engine.containers.get(id) !== container) return; // someone else was faster
  const { record } = container;
  container.record = {
    ...record,
    state: { ...record.state, status: nextStatus(record.state.status, "remove") },
  };
  for (const waiter of container.startWaiters) void waiter(undefined);
  container.startWaiters.clear();
  try {
    if (container.mayHaveTask) await killTask(engine, id);
    await removeParts(engine, container, { volumes });
  } catch (error) {
    const { state } = container.record;
    const why = error instanceof Error ? error.message : String(error);
    const status = nextStatus(state.status, "removeFailed");
    container.record = { ...container.record, state: { ...state, status, error: why } };
    container.tellNotRemoved(why);
    throw error;
  }
  tellRemoval(engine, container);
}

/**
 * Remove a container whose process has ended, as `--rm` asks for: clients see it no more, and are told so, before what it was made of
 * is taken apart. Its record goes last: should the daemon end meanwhile, the next one finishes this.
 *
 * @param cleanUp what the end of the process leaves to be done
 */
export async function removeEnded(
  engine: Engine,
  container: Container,
  cleanUp: () => Promise<void>,
): Promise<void> {
  const { record } = container;
  container.record = {
    ...record,
    state: { ...record.state, status: nextStatus(record.state.status, "remove") },
  };
  leaveAnonymousVolumes(engine, record);
  tellRemoval(engine, container);
  await cleanUp();
  for (let told = false; ; told = true) {
    try {
      if (container.mayHaveTask) await killTask(engine, container.id);
      // A record that a power cut brings back is one of a container that has ended, and goes as this one did.
      await removeParts(engine, container, { outlive: "process", volumes: true });
      return;
    } catch (error) {
      // containerd is away, or the disk is full. Should this daemon end first, the next one finds the record.
      if (!told) engine.log.warn({ id: container.id, err: error }, "removing a container; trying again");
    }
    await Bun.sleep(REMOVE_RETRY_MS);
  }
}

/** All that a container is made of, its record last. */
async function removeParts(
  engine: Engine,
  { id, record }: Container,
  { volumes, ...options }: CommitOptions & { volumes: boolean },
): Promise<void> {
  await Promise.all([
    ignoreMissing(engine.containerd.containers.delete({ id })),
    ignoreMissing(engine.containerd.snapshots.remove({ snapshotter: SNAPSHOTTER, key: id })),
  ]);
  await removeImageViews(engine, record);
  if (volumes) await removeAnonymousVolumes(engine, record);
  await removeDirectory(engine, id);
  fs.rmSync(ioDir(engine, id), { recursive: true, force: true });
  await engine.store.commit([engine.records.delete(id)], [], { ...options, whenAway: "keep" });
}

/** Not while one of the log's files, which may still be compressed, gets another name. */
async function removeDirectory(engine: Engine, id: string): Promise<void> {
  const directory = containerDir(engine, id);
  const remove = () => {
    fs.rmSync(directory, { recursive: true, force: true });
    return true;
  };
  if (!fs.existsSync(directory)) return;
  while (!withNames(path.join(directory, "log"), remove)) await Bun.sleep(1);
}

function tellRemoval(engine: Engine, container: Container): void {
  engine.containers.delete(container);
  engine.execs.forget(container);
  emitContainerEvent(engine, container, "destroy");
  container.tellExit();
  container.tellRemoved();
}

function stillRunning({ record }: Container): string {
  const shown = `cannot remove container "${record.name}"`;
  if (record.state.status === "paused") {
    return `${shown}: container is paused and must be unpaused first`;
  }
  return `${shown}: container is ${record.state.status}: stop the container before removing or force remove`;
}

async function ignoreMissing(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (errorCode(error) !== "not_found") throw error;
  }
}
