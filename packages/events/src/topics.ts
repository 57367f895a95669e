import {
  ContainerCreate,
  ContainerDelete,
  ContainerUpdate,
} from "@longshore/api/containerd/events/container";
import { ContentCreate, ContentDelete } from "@longshore/api/containerd/events/content";
import { ImageCreate, ImageDelete, ImageUpdate } from "@longshore/api/containerd/events/image";
import {
  NamespaceCreate,
  NamespaceDelete,
  NamespaceUpdate,
} from "@longshore/api/containerd/events/namespace";
import { SnapshotCommit, SnapshotPrepare, SnapshotRemove } from "@longshore/api/containerd/events/snapshot";
import type { Any } from "@longshore/api/google/protobuf/any";
import { EngineError } from "@longshore/errors";
import { fromEventJson, type JsonObject } from "./event-json.ts";
import { TASK_TOPICS } from "./task-topics.ts";

/** All of containerd's topics and what each carries. The shim, which must stay small, loads `TASK_TOPICS` alone. */
export const TOPICS = {
  ...TASK_TOPICS,
  "/containers/create": { typeUrl: "containerd.events.ContainerCreate", message: ContainerCreate },
  "/containers/update": { typeUrl: "containerd.events.ContainerUpdate", message: ContainerUpdate },
  "/containers/delete": { typeUrl: "containerd.events.ContainerDelete", message: ContainerDelete },
  "/images/create": { typeUrl: "containerd.services.images.v1.ImageCreate", message: ImageCreate },
  "/images/update": { typeUrl: "containerd.services.images.v1.ImageUpdate", message: ImageUpdate },
  "/images/delete": { typeUrl: "containerd.services.images.v1.ImageDelete", message: ImageDelete },
  "/content/create": { typeUrl: "containerd.events.ContentCreate", message: ContentCreate },
  "/content/delete": { typeUrl: "containerd.events.ContentDelete", message: ContentDelete },
  "/snapshot/prepare": { typeUrl: "containerd.events.SnapshotPrepare", message: SnapshotPrepare },
  "/snapshot/commit": { typeUrl: "containerd.events.SnapshotCommit", message: SnapshotCommit },
  "/snapshot/remove": { typeUrl: "containerd.events.SnapshotRemove", message: SnapshotRemove },
  "/namespaces/create": { typeUrl: "containerd.events.NamespaceCreate", message: NamespaceCreate },
  "/namespaces/update": { typeUrl: "containerd.events.NamespaceUpdate", message: NamespaceUpdate },
  "/namespaces/delete": { typeUrl: "containerd.events.NamespaceDelete", message: NamespaceDelete },
} as const;

export type Topic = keyof typeof TOPICS;

/** The message type of a topic, e.g. `EventOf<"/tasks/exit">` is `TaskExit`. */
export type EventOf<T extends Topic> = ReturnType<(typeof TOPICS)[T]["message"]["decode"]>;

/** Any event of a known topic; `switch (event.topic)` narrows `event.event`. */
export type AnyEvent = { [T in Topic]: { topic: T; event: EventOf<T> } }[Topic];

export function isTopic(topic: string): topic is Topic {
  return Object.hasOwn(TOPICS, topic);
}

/** An event as containerd's own services carry it. */
export function eventToAny<T extends Topic>(topic: T, event: EventOf<T>): Any {
  const { typeUrl, message } = codecOf(topic);
  return { typeUrl, value: Buffer.from(message.encode(event).finish()) };
}

/**
 * The event in an `Any` that came with a topic.
 *
 * @throws EngineError `invalid_argument` for a topic or type that is not containerd's, or bytes that do not parse
 */
export function eventFromAny(topic: string, any: Any | undefined): AnyEvent {
  if (!isTopic(topic)) throw new EngineError("invalid_argument", `unknown event topic ${topic}`);
  const { typeUrl, message } = codecOf(topic);
  // Some senders write type.googleapis.com/ before the name.
  if (any?.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1) !== typeUrl) {
    throw new EngineError("invalid_argument", `topic ${topic} with an event of type ${any?.typeUrl}`);
  }
  try {
    return { topic, event: message.decode(any.value) } as AnyEvent;
  } catch (cause) {
    throw new EngineError("invalid_argument", `an event of type ${typeUrl} that does not parse`, { cause });
  }
}

/** The typed event in the JSON of an envelope; undefined for a topic that this version does not know. */
export function eventFromJson(topic: string, fields: JsonObject): AnyEvent | undefined {
  if (!isTopic(topic)) return undefined;
  const { message } = codecOf(topic);
  const event = message.fromPartial(fromEventJson(fields, message.fromPartial({})));
  return { topic, event } as unknown as AnyEvent;
}

/** The union of codecs is not callable; its members are alike. */
interface AnyCodec {
  encode(message: unknown): { finish(): Uint8Array };
  decode(bytes: Uint8Array): unknown;
  fromPartial(fields: object): Record<string, unknown>;
}

function codecOf(topic: Topic): { typeUrl: string; message: AnyCodec } {
  return TOPICS[topic] as unknown as { typeUrl: string; message: AnyCodec };
}
