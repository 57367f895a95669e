import type { Engine } from "../engine.ts";
import { requestStop } from "./back-off.ts";
import type { Container } from "./container.ts";
import { emitContainerEvent } from "./container-events.ts";
import { isRunning } from "./container-status.ts";
import { killAndWait, sendSignal, thaw, waitForExit, within } from "./kill-container.ts";
import { parseSignal, stopSignalOf } from "./signals.ts";

export interface StopOptions {
  /** Seconds until SIGKILL; negative waits for ever; undefined is the container's own. */
  seconds?: number | undefined;
  signal?: string | undefined;
}

/** Ask the process to end, and kill it after a time. @returns false when it doesn't run */
export async function stopContainer(
  engine: Engine,
  container: Container,
  options: StopOptions,
): Promise<boolean> {
  if (!isRunning(container.record.state.status)) return false;
  const { config } = container.record;
  const signal = options.signal ? parseSignal(options.signal) : stopSignalOf(config);
  const seconds = options.seconds ?? config.StopTimeout ?? engine.flags.stopTimeoutSeconds;
  if (await requestStop(engine, container)) {
    emitContainerEvent(engine, container, "stop");
    return true;
  }
  const exited = waitForExit(container);
  await sendSignal(engine, container, signal);
  if (container.record.state.status === "paused") await thaw(engine, container);
  if (!(await within(exited, seconds < 0 ? undefined : seconds * 1000))) await killAndWait(engine, container);
  emitContainerEvent(engine, container, "stop");
  return true;
}
