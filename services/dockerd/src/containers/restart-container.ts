import type { Engine } from "../engine.ts";
import type { Container } from "./container.ts";
import { emitContainerEvent } from "./container-events.ts";
import { startContainer } from "./start-container.ts";
import { type StopOptions, stopContainer } from "./stop-container.ts";

/** Stop, unless it doesn't run, and start. */
export async function restartContainer(
  engine: Engine,
  container: Container,
  options: StopOptions,
): Promise<void> {
  await stopContainer(engine, container, options);
  await startContainer(engine, container);
  emitContainerEvent(engine, container, "restart");
}
