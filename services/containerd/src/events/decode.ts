import {
  ContainerCreate,
  ContainerDelete,
  ContainerUpdate,
} from "@longshore/api/containerd/events/container";
import * as contentEvents from "@longshore/api/containerd/events/content";
import * as imageEvents from "@longshore/api/containerd/events/image";
import {
  NamespaceCreate,
  NamespaceDelete,
  NamespaceUpdate,
} from "@longshore/api/containerd/events/namespace";
import * as snapshotEvents from "@longshore/api/containerd/events/snapshot";
import * as taskEvents from "@longshore/api/containerd/events/task";
import type { Any } from "@longshore/api/google/protobuf/any";

interface Decoder {
  decode(bytes: Uint8Array): object;
}

/** The messages of proto package `containerd.events` that travel as events, by name. */
const DECODERS: Readonly<Record<string, Decoder>> = {
  ContainerCreate,
  ContainerUpdate,
  ContainerDelete,
  NamespaceCreate,
  NamespaceUpdate,
  NamespaceDelete,
  ...decodersOf(contentEvents),
  ...decodersOf(imageEvents),
  ...decodersOf(snapshotEvents),
  ...decodersOf(taskEvents),
};

/** The fields of an event as the generated code names them; undefined for a type that isn't containerd's or bytes that aren't it. */
export function decodeEvent(event: Any | undefined): Record<string, unknown> | undefined {
  if (!event) return undefined;
  const name = /(?:^|\/)containerd\.events\.(\w+)$/.exec(event.typeUrl)?.[1];
  const decoder = name === undefined ? undefined : DECODERS[name];
  if (!decoder) return undefined;
  try {
    return decoder.decode(event.value) as Record<string, unknown>;
  } catch {
    return undefined; // what no decoder reads no filter matches
  }
}

/** A string field of an event by its dotted path in the proto's own spelling: `container_id`, `labels.role`. */
export function eventField(event: Any | undefined, path: readonly string[]): string | undefined {
  let value: unknown = decodeEvent(event);
  for (const [depth, name] of path.entries()) {
    if (typeof value !== "object" || value === null) return undefined;
    const fields = value as Record<string, unknown>;
    // A map's key may itself hold dots, and takes all that is left of the path.
    const rest = path.slice(depth).join(".");
    if (typeof fields[rest] === "string") return fields[rest];
    value = fields[camelCase(name)];
  }
  return typeof value === "string" ? value : undefined;
}

function camelCase(name: string): string {
  return name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}

function decodersOf(generated: Record<string, unknown>): Record<string, Decoder> {
  const isDecoder = (value: unknown): value is Decoder =>
    typeof value === "object" && value !== null && "decode" in value;
  return Object.fromEntries(
    Object.entries(generated).filter((entry): entry is [string, Decoder] => isDecoder(entry[1])),
  );
}
