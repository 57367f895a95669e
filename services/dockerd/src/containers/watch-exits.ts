import { TaskExit, TaskOOM } from "@longshore/api/containerd/events/task";
import type { Envelope } from "@longshore/api/containerd/types/event";
import type { EventEnvelope } from "@longshore/events";
import { fromTimestamp, trimTime } from "../containerd/timestamp.ts";
import type { Engine } from "../engine.ts";
import { handleExecExit } from "../execs/run-exec.ts";
import { emitContainerEvent } from "./container-events.ts";
import { updateState } from "./container-record.ts";
import { handleExit } from "./exit-container.ts";
import { reconcileContainers, removeLeftovers } from "./reconcile.ts";

const RETRY_MS = 250;
const SECOND_LOOK_MS = 1500;
/** The kernel's PID_MAX_LIMIT on 64-bit machines. */
const MAX_PID = 1 << 22;

/**
 * Take in task events from containerd until the signal aborts. When the stream breaks it is opened again, and what may
 * have been missed is looked up.
 */
export async function watchContainerd(engine: Engine, signal: AbortSignal): Promise<void> {
  const filter = `namespace==${engine.containerd.namespace},topic~="^/tasks/(exit|oom)"`;
  for (let broken = false; !signal.aborted; broken = true) {
    try {
      const stream = engine.containerd.events.subscribe({ filters: [filter] }, { signal });
      if (broken) {
        engine.bridge?.containerdChanged();
        void catchUp(engine, signal);
      }
      for await (const envelope of stream) takeEvent(engine, envelope);
    } catch (error) {
      if (signal.aborted) return;
      engine.log.debug({ err: error }, "containerd's event stream broke");
    }
    await Bun.sleep(RETRY_MS);
  }
}

/**
 * Look up what was missed, as soon as containerd answers; and once more, for what happened before the stream was there.
 */
async function catchUp(engine: Engine, signal: AbortSignal): Promise<void> {
  for (let done = 0; done < 2 && !signal.aborted; ) {
    try {
      await reconcileContainers(engine);
      await removeLeftovers(engine);
      done++;
    } catch (error) {
      engine.log.debug({ err: error }, "containerd doesn't tell its tasks");
    }
    await Bun.sleep(done === 0 ? RETRY_MS : SECOND_LOOK_MS);
  }
}

function takeEvent(engine: Engine, envelope: Envelope): void {
  const { topic, event } = envelope;
  if (!event) return;
  engine.bridge?.forward(envelope);
  if (topic === "/tasks/oom") noteOom(engine, TaskOOM.decode(event.value).containerId);
  if (topic !== "/tasks/exit") return;
  const { containerId, id, pid, exitStatus, exitedAt } = TaskExit.decode(event.value);
  const time = exitedAt ? fromTimestamp(exitedAt) : new Date().toISOString();
  takeExit(engine, {
    containerId,
    execId: id === containerId ? "" : id,
    pid,
    exitCode: exitStatus,
    exitedAt: time,
  });
}

export interface ProcessExit {
  containerId: string;
  /** Empty for the init process. */
  execId: string;
  pid: number;
  exitCode: number;
  exitedAt: string;
}

/** Read the exit from an event on NATS. Undefined when a field is missing or out of range. */
export function exitOfEvent({ event, time }: EventEnvelope): ProcessExit | undefined {
  const { container_id: containerId, id, pid, exit_status: exitCode, exited_at: exitedAt = time } = event;
  if (typeof containerId !== "string" || typeof id !== "string" || typeof exitedAt !== "string")
    return undefined;
  if (!isWithin(pid, 1, MAX_PID) || !isWithin(exitCode, 0, 255) || Number.isNaN(Date.parse(exitedAt)))
    return undefined;
  return { containerId, execId: id === containerId ? "" : id, pid, exitCode, exitedAt: trimTime(exitedAt) };
}

function isWithin(value: unknown, least: number, most: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= least && value <= most;
}

/**
 * Take in an exit, whoever tells of it. It changes nothing when the container or exec has another
 * process.
 */
export function takeExit(engine: Engine, { containerId, execId, ...exit }: ProcessExit): void {
  const fail = (error: unknown) => engine.log.error({ id: containerId, err: error }, "taking in an exit");
  if (execId !== "") {
    const exec = engine.execs.get(execId);
    // One of the daemon before this, which its containerd still knows.
    if (!exec && engine.containers.get(containerId)) void forgetExec(engine, containerId, execId);
    const isOther = exec && exec.pid !== 0 && exit.pid !== 0 && exec.pid !== exit.pid;
    if (exec?.container.id === containerId && !isOther)
      void handleExecExit(engine, exec, exit.exitCode).catch(fail);
    return;
  }
  const container = engine.containers.get(containerId);
  if (!container) return;
  container.lastExit = exit;
  const ended = engine.stalls.begin(() => `exit of container ${containerId}`);
  const handled = handleExit(engine, container, exit)
    .catch(fail)
    .finally(() => {
      ended();
      engine.exits.delete(handled);
    });
  engine.exits.add(handled);
}

async function forgetExec({ containerd, log }: Engine, containerId: string, execId: string): Promise<void> {
  try {
    await containerd.tasks.deleteProcess({ containerId, execId });
  } catch (error) {
    log.debug({ containerId, execId, err: error }, "deleting an exec process");
  }
}

function noteOom(engine: Engine, id: string): void {
  const container = engine.containers.get(id);
  if (!container) return;
  void container.lock.run(() => updateState(engine, container, { oomKilled: true })).catch(() => {});
  emitContainerEvent(engine, container, "oom");
}
