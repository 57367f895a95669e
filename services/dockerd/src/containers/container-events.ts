import type { Engine } from "../engine.ts";
import type { PreparedEvent } from "../events/engine-events.ts";
import type { Container } from "./container.ts";

type Attributes = Record<string, string>;

/** Tell of something that happened to a container: its labels, image and name go along. */
export function emitContainerEvent(
  engine: Engine,
  container: Container,
  action: string,
  attributes: Attributes = {},
): void {
  engine.events.emit("container", action, container.id, withOrigin(container, attributes));
}

/** The same, told to those who listen now and kept for nobody. */
export function announceContainerEvent(
  engine: Engine,
  container: Container,
  action: string,
  attributes: Attributes = {},
): void {
  engine.events.announce("container", action, container.id, withOrigin(container, attributes));
}

/** The same, to be told when it is on disk. */
export function prepareContainerEvent(
  engine: Engine,
  container: Container,
  action: string,
  attributes: Attributes = {},
): PreparedEvent {
  return engine.events.prepare("container", action, container.id, withOrigin(container, attributes));
}

function withOrigin({ record }: Container, attributes: Attributes): Attributes {
  const { config, name } = record;
  return { ...config.Labels, image: config.Image, name, ...attributes };
}
