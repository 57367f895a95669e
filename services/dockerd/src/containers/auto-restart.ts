import { type ErrorCode, toEngineError } from "@longshore/errors";
import type { Engine } from "../engine.ts";
import { BackOff } from "./back-off.ts";
import { type Container, ZERO_TIME } from "./container.ts";
import { hasProcess, isRunning } from "./container-status.ts";
import { dependenciesOf } from "./dependencies.ts";
import { nextDelayMs, startsWithDaemon } from "./restart-policy.ts";
import { failStart, launch, startContainer } from "./start-container.ts";

/** containerd is away or slow: that says nothing about the container. */
const PASSING: ErrorCode[] = ["unavailable", "deadline_exceeded", "canceled"];
/** How many containers are started at once when the daemon starts. */
const STARTS_AT_ONCE = 4;
/** How long a start waits for containers whose network or other namespaces it joins, or that it has links to. */
const NEEDED_WAIT_MS = 60_000;
const NEEDED_POLL_MS = 100;

/**
 * Start a container again after a while, which is the longer the sooner it ends each time. The caller holds its lock, and has
 * made it `restarting`.
 *
 * @param ranMs how long its process ran
 */
export function scheduleRestart(engine: Engine, container: Container, ranMs: number): void {
  if (engine.signal.aborted) return; // the next daemon does it
  const delayMs = nextDelayMs(container.backOff?.delayMs ?? 0, ranMs);
  container.backOff?.cancel();
  const backOff = new BackOff(delayMs, () => {
    const restarted = container.lock
      .run(async () => {
        if (container.backOff === backOff) await restart(engine, container, delayMs);
      })
      .finally(() => engine.exits.delete(restarted));
    engine.exits.add(restarted); // the daemon's end waits for it
  });
  container.backOff = backOff;
  engine.log.debug({ id: container.id, delayMs }, "waiting for a restart");
}

async function restart(engine: Engine, container: Container, delayMs: number): Promise<void> {
  // It may be restarting no more, or another start was faster.
  if (container.record.state.status !== "restarting" || engine.signal.aborted) return;
  if (delayMs < NEEDED_WAIT_MS / 2 && !areNeededRunning(engine, container)) {
    scheduleRestart(engine, container, 0);
    return;
  }
  try {
    await launch(engine, container);
  } catch (error) {
    if (engine.signal.aborted) return; // the next daemon does it
    if (PASSING.includes(toEngineError(error).code)) {
      engine.log.warn({ id: container.id, err: error }, "restarting a container; trying again");
      scheduleRestart(engine, container, 0);
      return;
    }
    engine.log.warn({ id: container.id, delayMs, err: error }, "a container can't be restarted");
    await failStart(engine, container, error).catch(() => {}); // it is the same error
  }
}

/** Start what its restart policy wants running, after a start of the daemon; a few at a time, in the order of their making; those that others need before these. */
export async function startWanted(engine: Engine): Promise<void> {
  const isWanted = ({ record }: Container) => {
    const { state, hostConfig, manuallyStopped = false } = record;
    const wasStarted = state.startedAt !== ZERO_TIME;
    return (
      wasStarted && !isRunning(state.status) && startsWithDaemon(hostConfig.RestartPolicy, manuallyStopped)
    );
  };
  const wanted = engine.containers.list().reverse().filter(isWanted);
  const waiting: Promise<void>[] = [];
  const start = async (container: Container): Promise<void> => {
    const { id } = container;
    if (engine.signal.aborted || engine.containers.get(id) !== container) return;
    await startContainer(engine, container).catch((error: unknown) =>
      engine.log.warn({ id, err: error }, "starting a container as its restart policy wants"),
    );
  };
  const startNext = async (): Promise<void> => {
    for (let next = wanted.shift(); next && !engine.signal.aborted; next = wanted.shift()) {
      const container = next;
      if (areNeededRunning(engine, container)) await start(container);
      else waiting.push(untilNeededRun(engine, container).then(() => start(container)));
    }
  };
  await Promise.all(Array.from({ length: STARTS_AT_ONCE }, startNext));
  await Promise.all(waiting);
}

function areNeededRunning(engine: Engine, container: Container): boolean {
  return neededBy(engine, container).every(({ record }) => hasProcess(record.state.status));
}

/** Containers that must run before this one; those that are gone are left out. */
function neededBy(engine: Engine, { record }: Container): Container[] {
  return dependenciesOf(record).flatMap((name) => {
    try {
      return engine.containers.find(name);
    } catch {
      return []; // its start will say so
    }
  });
}

/**
 * Give the containers that another one needs some time: they may be starting, or be started by somebody soon. Should they not run
 * then, the start says why it failed.
 */
async function untilNeededRun(engine: Engine, container: Container): Promise<void> {
  const deadline = performance.now() + NEEDED_WAIT_MS;
  while (!areNeededRunning(engine, container) && performance.now() < deadline && !engine.signal.aborted) {
    await Bun.sleep(NEEDED_POLL_MS);
  }
}
