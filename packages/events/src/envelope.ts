import { readText } from "@longshore/syscalls";
import { formatTime, type JsonObject, type Timestamp, toEventJson } from "./event-json.ts";

/** The stream that holds all events, and the subjects in it. */
export const STREAM = "LONGSHORE_EVENTS";
export const STREAM_SUBJECTS = "longshore.events.>";

/** The JSON body of an event on NATS. */
export interface EventEnvelope {
  v: 1;
  /** The same for the same event whoever sends it. */
  id: string;
  /** RFC 3339 in UTC, nanoseconds. */
  time: string;
  host: string;
  namespace: string;
  /** containerd's, e.g. `/tasks/exit`. */
  topic: string;
  source: "shim" | "containerd";
  /** The fields of containerd's event message in snake_case. */
  event: JsonObject;
}

/** An event ready for NATS, or for a queue on disk. */
export interface OutgoingEvent {
  subject: string;
  id: string;
  /** The envelope in JSON. */
  payload: string;
}

export interface EventOrigin {
  host: string;
  namespace: string;
  source: "shim" | "containerd";
  time: Timestamp;
}

/** What happens once in a process's life, so that two senders need not agree on its time. */
const ONCE = new Set([
  "/tasks/create",
  "/tasks/start",
  "/tasks/exit",
  "/tasks/delete",
  "/tasks/exec-started",
]);

/** Put an event into its envelope. */
export function outgoingEvent(topic: string, message: object, origin: EventOrigin): OutgoingEvent {
  const event = toEventJson(message);
  const id = eventId(topic, event, origin);
  const { host, namespace, source } = origin;
  const envelope: EventEnvelope = {
    v: 1,
    id,
    time: formatTime(origin.time),
    host,
    namespace,
    topic,
    source,
    event,
  };
  return { subject: eventSubject(topic, subjectId(event), origin), id, payload: JSON.stringify(envelope) };
}

/** `longshore.events.<host>.<namespace>.<topic with dots>.<id>`; what NATS would not take in a token becomes `_`. */
export function eventSubject(
  topic: string,
  id: string,
  { host, namespace }: { host: string; namespace: string },
): string {
  const topicTokens = topic.split("/").filter(Boolean).map(token).join(".");
  return `longshore.events.${token(host)}.${token(namespace)}.${topicTokens}.${token(id)}`;
}

/** One token of a subject. */
export function token(text: string): string {
  return text.replace(/[^A-Za-z0-9_-]/g, "_") || "_";
}

/**
 * `<namespace>/<container>/<exec id or "">/<topic>/<pid>`, and for what can happen to a process more than once (a
 * pause, an update) the time after it.
 */
function eventId(topic: string, event: JsonObject, { namespace, time }: EventOrigin): string {
  const container = subjectId(event);
  // In an exit or delete, `id` is the exec id, or the container's for the init process.
  const process = event.exec_id ?? (event.container_id === undefined ? "" : (event.id ?? ""));
  const exec = process === container ? "" : String(process);
  const id = `${namespace}/${container}/${exec}${topic}/${event.pid ?? ""}`;
  return ONCE.has(topic) ? id : `${id}/${time.seconds}.${String(time.nanos).padStart(9, "0")}`;
}

/** Whom an event is about: a container, an image name, a digest, a snapshot key, a namespace. */
function subjectId(event: JsonObject): string {
  return String(event.container_id ?? event.id ?? event.name ?? event.digest ?? event.key ?? "");
}

/** This machine's name in subjects and envelopes. */
export function hostName(): string {
  return readText("/proc/sys/kernel/hostname").trim();
}
