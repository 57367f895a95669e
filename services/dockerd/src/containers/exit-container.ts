import { errorCode } from "@longshore/errors";
import type { Engine } from "../engine.ts";
import { stopMonitor } from "../health/monitor-health.ts";
import { unmountVolumes } from "../volumes/volume-events.ts";
import { scheduleRestart } from "./auto-restart.ts";
import type { Container } from "./container.ts";
import { prepareContainerEvent } from "./container-events.ts";
import { type SaveOptions, saveRecord, updateState } from "./container-record.ts";
import { hasProcess, nextStatus } from "./container-status.ts";
import { removeEnded } from "./remove-container.ts";
import { restartsAfter } from "./restart-policy.ts";
import { unmountSharedMemory } from "./shared-memory.ts";

/** The end of a container's init process. */
export interface TaskExit {
  pid: number;
  exitCode: number;
  /** RFC 3339 */
  exitedAt: string;
}

const SAVE_RETRY_MS = 500;

/**
 * Take in that a container's process has ended: who waits is told, then its task is deleted and its network released, which nobody
 * waits for but the next operation on the container. With `--rm` it is gone for every client once that is told.
 * The same exit may be told several times, by several ways; all but the first do nothing.
 */
export function handleExit(engine: Engine, container: Container, exit: TaskExit): Promise<void> {
  return container.lock.run(() => endContainer(engine, container, exit));
}

/** The same, for a caller that holds the container's lock. */
export async function endContainer(engine: Engine, container: Container, exit: TaskExit): Promise<void> {
  const { state, hostConfig, sandboxId, endpoints, restartCount = 0 } = container.record;
  if (!hasProcess(state.status) || (exit.pid !== 0 && exit.pid !== state.pid)) return;
  stopMonitor(container);
  engine.execs.endAll(container);
  let cleaned: Promise<void> | undefined;
  const cleanUp = () => {
    cleaned ??= dismantle(engine, container, sandboxId);
    return cleaned;
  };
  // Only this daemon knows when the log that it copies from FIFOs is complete.
  if (container.stdio?.kind === "fifo") await cleanUp();
  const ranMs = Math.max(0, Date.parse(exit.exitedAt) - Date.parse(state.startedAt));
  const { stopRequested } = container;
  // What ends with the daemon nobody has asked for: the next daemon starts it again.
  const manuallyStopped =
    (stopRequested && !engine.signal.aborted) || container.record.manuallyStopped === true;
  const failed = exit.exitCode !== 0 || container.replacing;
  const run = { failed, restartCount, stopRequested, manuallyStopped };
  const again = restartsAfter(hostConfig.RestartPolicy, run);
  const die = prepareContainerEvent(engine, container, "die", {
    exitCode: String(exit.exitCode),
    execDuration: String(Math.floor(ranMs / 1000)),
  });
  // The event with the state: a daemon that is killed in between has told both or neither. What is removed at once needn't outlive the machine.
  const save: SaveOptions = {
    also: die.changes,
    outlive: hostConfig.AutoRemove ? "process" : "machine",
  };
  const saved = await updateState(
    engine,
    container,
    {
      status: nextStatus(state.status, again ? "restart" : "exit"),
      pid: 0,
      exitCode: exit.exitCode,
      finishedAt: exit.exitedAt,
      // Docker's word for what isn't looked at any more.
      ...(state.health && { health: { ...state.health, Status: "unhealthy" as const } }),
    },
    {
      stdio: "",
      sandboxId: "",
      endpoints: [],
      networks: container.record.networks.map((network) => {
        const endpoint = endpoints.find(({ networkName }) => networkName === network.name);
        return endpoint ? { ...network, networkId: endpoint.networkId } : network;
      }),
      manuallyStopped,
      restartCount: again ? restartCount + 1 : restartCount,
    },
    save,
  ).then(
    () => true,
    (error: unknown) => {
      engine.log.error({ id: container.id, err: error }, "an exit is not saved yet");
      return false;
    },
  );
  die.tell();
  await unmountVolumes(engine, container, { tell: true });
  unmountSharedMemory(engine, container.id);
  engine.log.info({ id: container.id, exitStatus: exit.exitCode }, "exited");
  container.tellExit();
  // Until it is saved the task keeps the exit status: should this daemon end, the next one reads it there.
  if (!saved) await saveLater(engine, container, save);
  if (hostConfig.AutoRemove) await removeEnded(engine, container, cleanUp);
  else await cleanUp();
  if (again) scheduleRestart(engine, container, ranMs);
}

/** Try until there is room on the disk again; whoever wants to change the container waits for it. */
async function saveLater(engine: Engine, container: Container, options: SaveOptions): Promise<void> {
  for (;;) {
    await Bun.sleep(SAVE_RETRY_MS);
    try {
      await saveRecord(engine, container, options);
      return;
    } catch (error) {
      engine.log.debug({ id: container.id, err: error }, "an exit is not saved yet");
    }
  }
}

/** Take apart what runs a container: its task, its network, the ends of its stdio. */
async function dismantle(engine: Engine, container: Container, sandboxId: string): Promise<void> {
  await Promise.all([deleteTask(engine, container), releaseNetwork(engine, sandboxId)]);
  await container.stdio?.[Symbol.asyncDispose]();
  container.stdio = undefined;
}

async function deleteTask(engine: Engine, container: Container): Promise<void> {
  const { id } = container;
  try {
    await engine.containerd.tasks.delete({ containerId: id });
  } catch (error) {
    if (errorCode(error) === "not_found") return;
    container.mayHaveTask = true;
    engine.log.warn({ id, err: error }, "deleting the task");
  }
}

async function releaseNetwork(engine: Engine, sandboxId: string): Promise<void> {
  if (sandboxId === "") return;
  try {
    await engine.metrics.timeNetwork("release", () => engine.networks.releaseSandbox(sandboxId));
  } catch (error) {
    engine.log.warn({ sandboxId, err: error }, "releasing the network");
  }
}
