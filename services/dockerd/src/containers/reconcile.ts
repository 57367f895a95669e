import fs from "node:fs";
import path from "node:path";
import type { Process } from "@longshore/api/containerd/types/task/task";
import { Status } from "@longshore/api/containerd/types/task/task";
import { errorCode, isErrno } from "@longshore/errors";
import { SNAPSHOTTER } from "../containerd/client.ts";
import { fromTimestamp } from "../containerd/timestamp.ts";
import type { Engine } from "../engine.ts";
import type { Exec } from "../execs/exec.ts";
import { handleExecExit } from "../execs/run-exec.ts";
import { Container, type ContainerRecord } from "./container.ts";
import { updateState } from "./container-record.ts";
import { isRunning } from "./container-status.ts";
import { handleExit } from "./exit-container.ts";
import { removeContainer } from "./remove-container.ts";
import { killTask, runningStdio } from "./start-container.ts";

const LOST = 255;

/** Read the stored containers into memory. */
export async function loadContainers(engine: Engine): Promise<void> {
  for (const { value } of await engine.records.list()) engine.containers.add(new Container(value));
}

/**
 * Compare what is known of each container with what runs: adopt what goes on running, take in exits that were missed.
 */
export async function reconcileContainers(engine: Engine): Promise<void> {
  const { tasks } = await engine.containerd.tasks.list({ filter: "" });
  const byId = new Map(tasks.map((task) => [task.id || task.containerId, task]));
  for (const container of engine.containers.list()) {
    try {
      await reconcile(engine, container, byId.get(container.id));
    } catch (error) {
      engine.log.warn({ id: container.id, err: error }, "reconciling a container");
    }
  }
}

async function reconcile(engine: Engine, container: Container, task: Process | undefined): Promise<void> {
  const { state, hostConfig } = container.record;
  const alive = task !== undefined && (task.status === Status.RUNNING || task.status === Status.PAUSED);
  if (isRunning(state.status)) {
    if (alive) return adopt(engine, container, task);
    const exitCode = task?.status === Status.STOPPED ? task.exitStatus : LOST;
    const exitedAt = task?.exitedAt ? fromTimestamp(task.exitedAt) : new Date().toISOString();
    engine.bridge?.exited({ containerId: container.id, execId: "", pid: state.pid, exitCode, exitedAt });
    return handleExit(engine, container, { pid: 0, exitCode, exitedAt });
  }
  await container.lock.run(async () => {
    if (isRunning(container.record.state.status)) return; // it was started meanwhile
    if (alive) {
      // Started, and the daemon ended before it was noted.
      const startedAt = new Date().toISOString();
      await updateState(
        engine,
        container,
        { status: "running", pid: task.pid, startedAt },
        { stdio: stdioOf(task) },
      );
    } else if (task) {
      await killTask(engine, container.id);
    }
  });
  if (!isRunning(container.record.state.status) && hostConfig.AutoRemove && state.status !== "created") {
    await removeContainer(engine, container);
  }
}

async function adopt(engine: Engine, container: Container, task: Process): Promise<void> {
  const status = task.status === Status.PAUSED ? "paused" : "running";
  if (container.record.state.status !== status || container.record.state.pid !== task.pid) {
    await container.lock.run(() => updateState(engine, container, { status, pid: task.pid }));
  }
  for (const exec of engine.execs.running(container)) await checkExec(engine, exec);
  const { stdio } = container.record;
  if (stdio === "") return;
  // FIFOs are read by this daemon, or the process blocks; sockets wait until somebody asks.
  if (stdio === "fifo") container.stdio ??= runningStdio(engine, container.record, stdio);
}

/** An exec may have ended while nobody told of it. */
async function checkExec(engine: Engine, exec: Exec): Promise<void> {
  if (exec.pid === 0) return; // being started: its exit will be told
  try {
    const ids = { containerId: exec.container.id, execId: exec.id };
    const { process } = await engine.containerd.tasks.get(ids);
    if (process?.status !== Status.STOPPED) return;
    const exitedAt = process.exitedAt ? fromTimestamp(process.exitedAt) : new Date().toISOString();
    engine.bridge?.exited({ ...ids, pid: exec.pid, exitCode: process.exitStatus, exitedAt });
    await handleExecExit(engine, exec, process.exitStatus);
  } catch (error) {
    if (errorCode(error) !== "not_found") throw error;
    await handleExecExit(engine, exec, LOST);
  }
}

function stdioOf({ stdout }: Process): ContainerRecord["stdio"] {
  if (stdout === "") return "";
  return stdout.startsWith("longshore://") ? "longshore" : "fifo";
}

/** Remove what a daemon that was killed left half-made. Only at start, before anything new is made. */
export async function removeLeftovers(engine: Engine): Promise<void> {
  const known = (id: string) => engine.containers.get(id) !== undefined;
  const { containers } = await engine.containerd.containers.list({ filters: [] });
  for (const { id } of containers) {
    if (known(id) || !isOurId(id)) continue;
    engine.log.info({ id }, "removing a container without a record");
    await killTask(engine, id);
    await engine.containerd.containers.delete({ id });
  }
  for await (const { info } of engine.containerd.snapshots.list({ snapshotter: SNAPSHOTTER, filters: [] })) {
    for (const { name } of info) {
      if (!isOurId(name) || known(name)) continue;
      try {
        await engine.containerd.snapshots.remove({ snapshotter: SNAPSHOTTER, key: name });
      } catch (error) {
        if (errorCode(error) !== "not_found") engine.log.warn({ name, err: error }, "removing a snapshot");
      }
    }
  }
  for (const parent of [
    path.join(engine.flags.dataRoot, "containers"),
    path.join(engine.flags.execRoot, "io"),
  ]) {
    for (const id of entriesOf(parent))
      if (!known(id)) fs.rmSync(path.join(parent, id), { recursive: true, force: true });
  }
}

/** A key of this daemon's making, as opposed to a snapshot of an image or of another client. */
function isOurId(key: string): boolean {
  return /^[a-f0-9]{64}$/.test(key);
}

function entriesOf(directory: string): string[] {
  try {
    return fs.readdirSync(directory);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return [];
    throw error;
  }
}
