import type { Filters } from "../http/filters.ts";
import type { EngineEvent } from "./engine-events.ts";

const ACTOR_TYPES = ["container", "daemon", "image", "network", "plugin", "volume"] as const;

export const EVENT_FILTERS = [
  ...ACTOR_TYPES,
  "config",
  "event",
  "label",
  "node",
  "scope",
  "secret",
  "service",
  "type",
] as const;

/** Whether an event passes the filters of `/events`. */
export function eventMatches(event: EngineEvent, filters: Filters): boolean {
  const { Type, Action, Actor, scope } = event;
  return (
    // `exec_create: ls` is matched by its first word too
    filters.match("event", (wanted) => wanted === Action || wanted === Action.split(":")[0]) &&
    filters.match("type", (type) => type === Type) &&
    filters.match("scope", (wanted) => wanted === scope) &&
    filters.matchLabels(Actor.Attributes) &&
    ["config", "node", "secret", "service"].every((type) => !filters.has(type)) &&
    ACTOR_TYPES.every((type) => filters.match(type, (wanted) => Type === type && isActor(event, wanted)))
  );
}

function isActor({ Actor, Type }: EngineEvent, wanted: string): boolean {
  const { name, image } = Actor.Attributes;
  if (wanted === Actor.ID || wanted === name || (wanted.length >= 12 && Actor.ID.startsWith(wanted)))
    return true;
  return Type === "image" && (image === wanted || name === `${wanted}:latest`);
}

/** An event as a line of JSON, with the old fields `status`, `id` and `from` that clients still read. */
export function showEvent({ Type, Action, Actor, scope, time, timeNano }: EngineEvent): string {
  const old = Type === "container" || Type === "image" ? { status: Action, id: Actor.ID } : {};
  const from = Type === "container" && Actor.Attributes.image ? { from: Actor.Attributes.image } : {};
  const shown = { ...old, ...from, Type, Action, Actor, scope, time, timeNano: 0 };
  // More digits than a number of JavaScript's holds.
  return JSON.stringify(shown).replace(/"timeNano":0}$/, `"timeNano":${timeNano}}`);
}
