import type { Engine } from "../engine.ts";
import type { Container } from "./container.ts";

/** Tell of something that happened to a container: its labels, image and name go along. */
export function emitContainerEvent(
  engine: Engine,
  container: Container,
  action: string,
  attributes: Record<string, string> = {},
): void {
  const { config, name } = container.record;
  engine.events.emit("container", action, container.id, {
    ...config.Labels,
    image: config.Image,
    name,
    ...attributes,
  });
}
