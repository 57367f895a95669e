import { TaskExit, TaskOOM } from "@longshore/api/containerd/events/task";
import type { Envelope } from "@longshore/api/containerd/types/event";
import { fromTimestamp } from "../containerd/timestamp.ts";
import type { Engine } from "../engine.ts";
import { handleExecExit } from "../execs/run-exec.ts";
import { emitContainerEvent } from "./container-events.ts";
import { updateState } from "./container-record.ts";
import { handleExit } from "./exit-container.ts";
import { reconcileContainers } from "./reconcile.ts";

const RETRY_MS = 250;

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
        void reconcileContainers(engine).catch((error: unknown) =>
          engine.log.warn({ err: error }, "reconcile"),
        );
      }
      for await (const envelope of stream) takeEvent(engine, envelope);
    } catch (error) {
      if (signal.aborted) return;
      engine.log.debug({ err: error }, "containerd's event stream broke");
    }
    await Bun.sleep(RETRY_MS);
  }
}

function takeEvent(engine: Engine, { topic, event }: Envelope): void {
  if (!event) return;
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

/** Take in an exit, whoever tells of it. */
export function takeExit(engine: Engine, { containerId, execId, ...exit }: ProcessExit): void {
  const fail = (error: unknown) => engine.log.error({ id: containerId, err: error }, "taking in an exit");
  if (execId !== "") {
    const exec = engine.execs.get(execId);
    if (exec) void handleExecExit(engine, exec, exit.exitCode).catch(fail);
    return;
  }
  const container = engine.containers.get(containerId);
  if (!container) return;
  const handled = handleExit(engine, container, exit)
    .catch(fail)
    .finally(() => engine.exits.delete(handled));
  engine.exits.add(handled);
}

function noteOom(engine: Engine, id: string): void {
  const container = engine.containers.get(id);
  if (!container) return;
  void container.lock.run(() => updateState(engine, container, { oomKilled: true })).catch(() => {});
  emitContainerEvent(engine, container, "oom");
}
