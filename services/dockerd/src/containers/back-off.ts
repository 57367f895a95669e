import type { Engine } from "../engine.ts";
import type { Container } from "./container.ts";
import { updateState } from "./container-record.ts";
import { nextStatus } from "./container-status.ts";
import { restarts } from "./restart-policy.ts";

/** The time until a container's restart. */
export class BackOff {
  readonly delayMs: number;
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** @param onEnd called when the time is over */
  constructor(delayMs: number, onEnd: () => void) {
    this.delayMs = delayMs;
    this.timer = setTimeout(onEnd, delayMs);
    this.timer.unref(); // the daemon may end meanwhile
  }

  cancel(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}

/**
 * The end of the container that follows is wanted: no restart policy undoes it, also not one of a daemon that only hears of it after
 * its start. A wait for its restart ends here; a restart that has begun is let finish.
 *
 * @returns true when the container waited, and so has ended with this
 */
export async function requestStop(engine: Engine, container: Container): Promise<boolean> {
  container.stopRequested = true;
  if (container.record.state.status === "restarting") {
    if (await container.lock.run(() => endWait(engine, container))) return true;
  }
  const { hostConfig, manuallyStopped = false } = container.record;
  // Ended with the daemon: the next one starts it again.
  if (engine.signal.aborted) return false;
  if (manuallyStopped || !restarts(hostConfig.RestartPolicy)) return false; // else the exit notes it
  await updateState(engine, container, {}, { manuallyStopped: true });
  return false;
}

async function endWait(engine: Engine, container: Container): Promise<boolean> {
  container.stopRequested = true; // a start that has just ended took it back
  const { status } = container.record.state;
  if (status !== "restarting") return false;
  container.backOff?.cancel();
  container.backOff = undefined;
  await updateState(engine, container, { status: nextStatus(status, "exit") }, { manuallyStopped: true });
  container.tellExit();
  return true;
}
