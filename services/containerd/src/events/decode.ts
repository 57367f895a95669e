import type { Any } from "@longshore/api/google/protobuf/any";
import { TOPICS } from "@longshore/events/topics";

interface Decoder {
  decode(bytes: Uint8Array): object;
}

/** The decoders of containerd's events by type URL; one type may come under several topics. */
const DECODERS: ReadonlyMap<string, Decoder> = new Map(
  Object.values(TOPICS).map(({ typeUrl, message }): [string, Decoder] => [typeUrl, message]),
);

/** The fields of an event as the generated code names them; undefined for a type that isn't containerd's or bytes that aren't it. */
export function decodeEvent(event: Any | undefined): Record<string, unknown> | undefined {
  if (!event) return undefined;
  // Some senders write type.googleapis.com/ before the name.
  const decoder = DECODERS.get(event.typeUrl.slice(event.typeUrl.lastIndexOf("/") + 1));
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
