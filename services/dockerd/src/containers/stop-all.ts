import type { Engine } from "../engine.ts";
import type { Container } from "./container.ts";
import { isRunning } from "./container-status.ts";
import { within } from "./kill-container.ts";
import { stopContainer } from "./stop-container.ts";

/**
 * Stop what runs, as a daemon does that ends without `live-restore`. Each container has its own time to end; all together have that of
 * `shutdown-timeout`, unless one of them asks for more. Their restart policies start them again with the next daemon.
 */
export async function stopAll(engine: Engine): Promise<void> {
  const running = engine.containers.list().filter(({ record }) => isRunning(record.state.status));
  const stopping = Promise.all(running.map((container) => stopOne(engine, container)));
  if (
    await within(
      stopping.then(() => {}),
      limitMs(engine, running),
    )
  )
    return;
  engine.log.warn("containers that did not end in time run on");
}

async function stopOne(engine: Engine, container: Container): Promise<void> {
  try {
    await stopContainer(engine, container, {});
  } catch (error) {
    engine.log.warn({ id: container.id, err: error }, "stopping a container");
  }
}

/** Undefined: as long as it takes. */
function limitMs(engine: Engine, running: readonly Container[]): number | undefined {
  const { shutdownTimeoutSeconds } = engine.flags;
  const own = running.map(({ record }) => record.config.StopTimeout ?? engine.flags.stopTimeoutSeconds);
  if (shutdownTimeoutSeconds < 0 || own.some((seconds) => seconds < 0)) return undefined;
  // Those that are killed at their time's end need a moment for it.
  return 1000 * Math.max(shutdownTimeoutSeconds, ...own.map((seconds) => seconds + 5));
}
