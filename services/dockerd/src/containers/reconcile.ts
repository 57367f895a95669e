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
import { newHealth } from "../health/health.ts";
import { healthPlan } from "../health/healthcheck.ts";
import { monitorHealth } from "../health/monitor-health.ts";
import { JOINED } from "../networks/network-mode.ts";
import { scheduleRestart } from "./auto-restart.ts";
import { Container, type ContainerRecord } from "./container.ts";
import { prepareContainerEvent } from "./container-events.ts";
import { updateState } from "./container-record.ts";
import { hasProcess, isRunning } from "./container-status.ts";
import { endContainer, type TaskExit } from "./exit-container.ts";
import { killTask } from "./kill-task.ts";
import { removeContainer } from "./remove-container.ts";
import { runningStdio } from "./start-container.ts";
import { upgradeRecord } from "./upgrade-record.ts";

/** Of a process that is gone without anybody having seen its end: nothing but a SIGKILL does that, or the end of the machine. */
const LOST = 137;
const LOST_WORDS = "its exit status was lost: it ended while nobody was there to see it";
/** How long a start of the daemon waits for a container's shim to answer, and how often one that doesn't is asked again. */
const ANSWER_WAIT_MS = 5000;
const ANSWER_RETRY_MS = 1000;
/** How long the news of an exit may be behind the end of its task. */
const EXIT_WAIT_MS = 2000;

/** Read the stored containers into memory. */
export async function loadContainers(engine: Engine): Promise<void> {
  for (const { value } of await engine.records.list())
    engine.containers.add(new Container(upgradeRecord(value)));
}

/**
 * Compare what is known of each container with what runs: adopt what goes on running, take in exits that were missed, end what should
 * not run.
 */
export async function reconcileContainers(engine: Engine): Promise<void> {
  const { tasks } = await engine.containerd.tasks.list({ filter: "" });
  const byId = new Map(tasks.map((task) => [task.id || task.containerId, task]));
  await Promise.all(
    engine.containers.list().map(async (container) => {
      const task = byId.get(container.id);
      if (task === undefined && isAtRest(container)) return;
      const work = reconcilePatiently(engine, container).finally(() => engine.exits.delete(work));
      engine.exits.add(work); // the daemon's end waits for it
      // One whose shim hangs holds up nobody else.
      await Promise.race([work, Bun.sleep(ANSWER_WAIT_MS)]);
    }),
  );
  for (const container of engine.containers.list()) {
    const { state, hostConfig } = container.record;
    if (!hostConfig.AutoRemove || isRunning(state.status) || state.status === "created") continue;
    await removeContainer(engine, container, { volumes: true }).catch((error: unknown) =>
      engine.log.warn({ id: container.id, err: error }, "removing a container"),
    );
  }
}

/** Until containerd says how the container is: its shim may not answer for a while. */
async function reconcilePatiently(engine: Engine, container: Container): Promise<void> {
  for (;;) {
    try {
      return await container.lock.run(() => reconcile(engine, container));
    } catch (error) {
      engine.log.warn({ id: container.id, err: error }, "reconciling a container");
      if (errorCode(error) !== "deadline_exceeded" || engine.signal.aborted) return;
    }
    await Bun.sleep(ANSWER_RETRY_MS);
  }
}

function isAtRest(container: Container): boolean {
  return !isRunning(container.record.state.status) && !container.mayHaveTask;
}

/** With the container's lock: no call changes it meanwhile, and what containerd says is asked for anew. */
async function reconcile(engine: Engine, container: Container): Promise<void> {
  if (engine.containers.get(container.id) !== container) return; // it was removed
  const { state } = container.record;
  const task = await taskOf(engine, container.id);
  const alive = task !== undefined && (task.status === Status.RUNNING || task.status === Status.PAUSED);
  if (hasProcess(state.status)) {
    if (alive) return adopt(engine, container, task);
    if (task?.status === Status.STOPPED) return missedExit(engine, container, exitOf(task));
    // The task is gone, and its exit is being told, or was when nobody heard.
    const told = (await toldExit(container)) ?? (await engine.bridge?.keptExit(container.id, state.pid));
    if (told) return endContainer(engine, container, { ...told, pid: state.pid });
    await missedExit(engine, container, lostExit());
    // Not made up without a word.
    if (engine.containers.get(container.id) === container && container.record.state.exitCode === LOST)
      await updateState(engine, container, { error: LOST_WORDS });
    return;
  }
  if (!task) {
    container.mayHaveTask = false;
    goOnWaiting(engine, container);
    return;
  }
  // A client was told that this start failed, and that start shall not happen after all.
  const failed = container.mayHaveTask || state.error !== "";
  const ended = task.status === Status.STOPPED && exitOf(task).exitedAt !== state.finishedAt;
  if (failed || !(alive || ended)) {
    try {
      await killTask(engine, container.id);
      container.mayHaveTask = false;
    } finally {
      goOnWaiting(engine, container); // its start clears away what is left
    }
    return;
  }
  // Started, and the daemon ended before that was noted.
  await noteStart(engine, container, task);
  if (ended) await endContainer(engine, container, exitOf(task));
}

/** One that waited for its restart when the daemon before this ended. */
function goOnWaiting(engine: Engine, container: Container): void {
  if (container.record.state.status !== "restarting" || container.backOff) return;
  scheduleRestart(engine, container, 0);
}

/** Nobody has told of it. */
function missedExit(engine: Engine, container: Container, exit: TaskExit): Promise<void> {
  const { pid } = container.record.state;
  engine.bridge?.exited({ ...exit, containerId: container.id, execId: "", pid });
  return endContainer(engine, container, exit);
}

/** @returns undefined when it is gone */
async function taskOf({ containerd }: Engine, containerId: string): Promise<Process | undefined> {
  try {
    return (await containerd.tasks.get({ containerId, execId: "" })).process;
  } catch (error) {
    if (errorCode(error) !== "not_found") throw error;
    return undefined;
  }
}

function exitOf({ exitStatus, exitedAt }: Process): TaskExit {
  const at = exitedAt ? fromTimestamp(exitedAt) : new Date().toISOString();
  return { pid: 0, exitCode: exitStatus, exitedAt: at };
}

function lostExit(): TaskExit {
  return { pid: 0, exitCode: LOST, exitedAt: new Date().toISOString() };
}

/** An exit that was told while the container's lock was held, or is within a moment. */
async function toldExit(container: Container): Promise<TaskExit | undefined> {
  const { pid } = container.record.state;
  for (let waitedMs = 0; container.lastExit?.pid !== pid && waitedMs < EXIT_WAIT_MS; waitedMs += 20)
    await Bun.sleep(20);
  return container.lastExit?.pid === pid ? container.lastExit : undefined;
}

async function noteStart(engine: Engine, container: Container, task: Process): Promise<void> {
  const startedAt = new Date().toISOString();
  const start = prepareContainerEvent(engine, container, "start");
  const { pid } = task;
  const health = healthPlan(container.record.config) && newHealth();
  const state = {
    status: "running",
    pid,
    startedAt,
    exitCode: 0,
    error: "",
    oomKilled: false,
    health,
  } as const;
  const network = networkOf(engine, container, pid);
  const found = { stdio: stdioOf(task), ...network };
  await updateState(engine, container, state, found, { also: start.changes });
  start.tell();
  monitorHealth(engine, container);
}

/** The network that was made for a start which nobody could note. */
function networkOf(
  { networks }: Engine,
  { record }: Container,
  pid: number,
): Pick<ContainerRecord, "sandboxId" | "endpoints" | "ports"> {
  const sandboxId = record.hostConfig.NetworkMode.startsWith(JOINED) ? undefined : networks.sandboxOf(pid);
  if (sandboxId === undefined) return { sandboxId: "", endpoints: [], ports: [] };
  return { sandboxId, endpoints: networks.endpoints(sandboxId), ports: [...networks.ports(sandboxId)] };
}

async function adopt(engine: Engine, container: Container, task: Process): Promise<void> {
  const status = task.status === Status.PAUSED ? "paused" : "running";
  if (container.record.state.status !== status || container.record.state.pid !== task.pid) {
    await updateState(engine, container, { status, pid: task.pid });
  }
  for (const exec of engine.execs.running(container)) await checkExec(engine, exec);
  monitorHealth(engine, container);
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

/** Remove what was left half-made, or half removed, when this daemon or containerd was killed. */
export async function removeLeftovers(engine: Engine): Promise<void> {
  const known = (id: string) => engine.containers.has(id);
  const { tasks } = await engine.containerd.tasks.list({ filter: "" });
  for (const { id } of tasks) {
    if (known(id) || !isOurId(id)) continue;
    engine.log.info({ id }, "ending a task without a record");
    await killTask(engine, id);
  }
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
