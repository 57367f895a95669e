import { EngineError, errorCode } from "@longshore/errors";
import type { Engine } from "../engine.ts";
import { requestStop } from "./back-off.ts";
import type { Container } from "./container.ts";
import { emitContainerEvent } from "./container-events.ts";
import { updateState } from "./container-record.ts";
import { isRunning, nextStatus, requireRunning } from "./container-status.ts";
import { parseSignal, SIGNAL_MAX, stopSignalOf } from "./signals.ts";

const KILL_TIMEOUT_MS = 10_000;
const SIGKILL = 9;
/** Signals by which people ask a process to end: INT, QUIT, ABRT, TERM. */
const ENDING = [2, 3, 6, 15];

/**
 * Send a signal; SIGKILL waits until the process is gone.
 * @throws EngineError `conflict` when it isn't running
 */
export async function killContainer(engine: Engine, container: Container, signalName: string): Promise<void> {
  if (/^[0-9]+$/.test(signalName) && Number(signalName) > SIGNAL_MAX)
    throw new EngineError("invalid_argument", `the linux daemon does not support signal ${signalName}`);
  const signal = parseSignal(signalName || "SIGKILL");
  const { status } = container.record.state;
  if (!isRunning(status)) throw new EngineError("conflict", `container ${container.id} is not running`);
  if (signal === SIGKILL) return killAndWait(engine, container);
  if (!asksForEnd(container, signal)) requireRunning(container.id, container.record.state.status);
  else if (await requestStop(engine, container)) return tellKill(engine, container, signal);
  await sendSignal(engine, container, signal);
  if (container.record.state.status === "paused" && wakes(container, signal))
    await thawKilled(engine, container);
}

function tellKill(engine: Engine, container: Container, signal: number): void {
  emitContainerEvent(engine, container, "kill", { signal: String(signal) });
}

/** Whether a signal lets a paused container go on, to get it: each does, unless the container has one to stop it by. */
function wakes({ record }: Container, signal: number): boolean {
  const { config } = record;
  return config.StopSignal === "" || signal === stopSignalOf(config);
}

/** Who sends SIGHUP wants something of the process, not its end. */
function asksForEnd({ record }: Container, signal: number): boolean {
  return ENDING.includes(signal) || signal === stopSignalOf(record.config);
}

/** SIGKILL, and wait until the exit is taken in. */
export async function killAndWait(engine: Engine, container: Container): Promise<void> {
  if (await requestStop(engine, container)) return tellKill(engine, container, SIGKILL);
  const exited = waitForExit(container);
  await sendSignal(engine, container, SIGKILL);
  if (await within(exited, KILL_TIMEOUT_MS)) return;
  throw new EngineError(
    "deadline_exceeded",
    `tried to kill container ${container.id}, but did not receive an exit event`,
  );
}

/** Send a signal to the init process, and tell of it; one that has just ended is fine. */
export async function sendSignal(engine: Engine, container: Container, signal: number): Promise<void> {
  try {
    await engine.containerd.tasks.kill({ containerId: container.id, execId: "", signal, all: false });
    if (signal === SIGKILL && container.record.state.status === "paused") await thawKilled(engine, container);
  } catch (error) {
    if (errorCode(error) !== "not_found") throw error; // it has just ended
  }
  tellKill(engine, container, signal);
}

/** Resolves when the running container has ended; at once when it has already. */
export function waitForExit(container: Container): Promise<void> {
  if (!isRunning(container.record.state.status)) return Promise.resolve();
  return new Promise((resolve) => container.exitWaiters.add(() => resolve()));
}

/** The longest that a timer takes; beyond it one ends at once. */
export const TIMER_MAX_MS = 2 ** 31 - 1;

/** Whether it resolves in time; a time of weeks is for ever. */
export async function within(work: Promise<void>, ms: number | undefined): Promise<boolean> {
  if (ms === undefined || ms > TIMER_MAX_MS) return work.then(() => true);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Let a paused container go on to its end; some kernels end it while it is frozen. That it ends is looked at elsewhere, and the runtime may have
 * thawed it as it killed it: so what goes wrong here is only noted, as by Docker.
 */
async function thawKilled(engine: Engine, container: Container): Promise<void> {
  try {
    await thaw(engine, container);
  } catch (error) {
    const isExpected = ["failed_precondition", "conflict", "not_found"].includes(errorCode(error) ?? "");
    engine.log[isExpected ? "debug" : "warn"]({ id: container.id, err: error }, "unpausing what was killed");
  }
}

/** Let a paused container go on. */
export async function thaw(engine: Engine, container: Container): Promise<void> {
  await engine.containerd.tasks.resume({ containerId: container.id });
  await updateState(engine, container, { status: nextStatus(container.record.state.status, "unpause") });
}
