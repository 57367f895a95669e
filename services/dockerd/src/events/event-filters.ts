import { familiarName, tryParseReference } from "@longshore/reference";
import type { Filters } from "../http/filters.ts";
import { jsonInteger } from "../http/json-integer.ts";
import type { EngineEvent } from "./engine-events.ts";

/** What an actor's id or name begins with. */
const ACTORS = [
  "config",
  "container",
  "daemon",
  "network",
  "node",
  "plugin",
  "secret",
  "service",
  "volume",
] as const;

export const EVENT_FILTERS = [...ACTORS, "event", "image", "label", "scope", "type"] as const;

/** Whether an event passes the filters of `/events`. */
export function eventMatches(event: EngineEvent, filters: Filters): boolean {
  const { Type, Action, Actor, scope } = event;
  return (
    // `exec_create: ls` is matched by its first word too
    filters.match("event", (wanted) => wanted === Action || wanted === Action.split(":")[0]) &&
    filters.match("type", (type) => type === Type) &&
    filters.match("scope", (wanted) => wanted === scope) &&
    filters.matchLabels(Actor.Attributes) &&
    ACTORS.every((kind) => filters.match(kind, (wanted) => isActor(Actor, wanted))) &&
    filters.match("image", (wanted) => isOfImage(event, wanted))
  );
}

/** Of whatever kind the actor is: so Docker has it. */
function isActor({ ID, Attributes: { name = "" } }: EngineEvent["Actor"], wanted: string): boolean {
  return ID.startsWith(wanted) || name.startsWith(wanted);
}

/** Whether it tells of an image, or of a container that was made of it. */
function isOfImage({ Type, Actor: { ID, Attributes } }: EngineEvent, wanted: string): boolean {
  const name = (Type === "image" ? Attributes.name : Attributes.image) ?? "";
  return [ID, name].some((one) => one === wanted || withoutTag(one) === wanted);
}

function withoutTag(name: string): string {
  const reference = tryParseReference(name);
  return reference ? familiarName(reference) : name;
}

/** An event as a line of JSON; with the old fields `status`, `id` and `from` for clients that read them. */
export function showEvent(
  { Type, Action, Actor, scope, time, timeNano }: EngineEvent,
  { oldFields }: { oldFields: boolean },
): string {
  const old = Type === "container" || Type === "image" ? { status: Action, id: Actor.ID } : {};
  const from = Type === "container" && Actor.Attributes.image ? { from: Actor.Attributes.image } : {};
  const shown = { ...(oldFields && { ...old, ...from }), Type, Action, Actor, scope, time };
  return `${JSON.stringify({ ...shown, timeNano: jsonInteger(timeNano) })}\n`;
}
