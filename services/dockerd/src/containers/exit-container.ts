import { errorCode } from "@longshore/errors";
import type { Engine } from "../engine.ts";
import type { Container } from "./container.ts";
import { emitContainerEvent } from "./container-events.ts";
import { updateState } from "./container-record.ts";
import { isRunning, nextStatus } from "./container-status.ts";
import { removeEnded } from "./remove-container.ts";

/** The end of a container's init process. */
export interface TaskExit {
  pid: number;
  exitCode: number;
  /** RFC 3339 */
  exitedAt: string;
}

/**
 * Take in that a container's process has ended: who waits is told, then its task is deleted and its network released, which nobody
 * waits for but the next operation on the container. With `--rm` it is gone for every client once that is told.
 * The same exit may be told several times, by several ways; all but the first do nothing.
 */
export function handleExit(engine: Engine, container: Container, exit: TaskExit): Promise<void> {
  return container.lock.run(async () => {
    const { state, hostConfig, sandboxId } = container.record;
    if (!isRunning(state.status) || (exit.pid !== 0 && exit.pid !== state.pid)) return;
    engine.execs.endAll(container);
    let cleaned: Promise<void> | undefined;
    const cleanUp = () => {
      cleaned ??= dismantle(engine, container, sandboxId);
      return cleaned;
    };
    // Only this daemon knows when the log that it copies from FIFOs is complete.
    if (container.stdio?.kind === "fifo") await cleanUp();
    const ended = {
      status: nextStatus(state.status, "exit"),
      pid: 0,
      exitCode: exit.exitCode,
      finishedAt: exit.exitedAt,
    };
    const rest = { stdio: "" as const, sandboxId: "", endpoint: null };
    if (hostConfig.AutoRemove) {
      // The record is about to go: it needn't be written once more.
      const { record } = container;
      container.record = { ...record, ...rest, state: { ...record.state, ...ended } };
    } else {
      await updateState(engine, container, ended, rest);
    }
    const seconds = Math.max(0, Math.floor((Date.parse(exit.exitedAt) - Date.parse(state.startedAt)) / 1000));
    emitContainerEvent(engine, container, "die", {
      exitCode: String(exit.exitCode),
      execDuration: String(seconds),
    });
    engine.log.info({ id: container.id, exitStatus: exit.exitCode }, "exited");
    container.tellExit();
    if (hostConfig.AutoRemove) await removeEnded(engine, container, cleanUp);
    else await cleanUp();
  });
}

/** Take apart what runs a container: its task, its network, the ends of its stdio. */
async function dismantle(engine: Engine, container: Container, sandboxId: string): Promise<void> {
  await Promise.all([deleteTask(engine, container), releaseNetwork(engine, sandboxId)]);
  await container.stdio?.[Symbol.asyncDispose]();
  container.stdio = undefined;
}

async function deleteTask(engine: Engine, { id }: Container): Promise<void> {
  try {
    await engine.containerd.tasks.delete({ containerId: id });
  } catch (error) {
    if (errorCode(error) !== "not_found") engine.log.warn({ id, err: error }, "deleting the task");
  }
}

async function releaseNetwork(engine: Engine, sandboxId: string): Promise<void> {
  if (sandboxId === "") return;
  try {
    await engine.networks.releaseSandbox(sandboxId);
  } catch (error) {
    engine.log.warn({ sandboxId, err: error }, "releasing the network");
  }
}
