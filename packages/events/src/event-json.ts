import { realTime } from "@longshore/syscalls";

export type JsonValue = string | number | boolean | null | JsonValue[] | JsonObject;
export interface JsonObject {
  [key: string]: JsonValue;
}

/** google.protobuf.Timestamp as generated. */
export interface Timestamp {
  seconds: bigint;
  nanos: number;
}

/** Maps whose keys are data, not field names. */
const MAPS = new Set(["labels"]);

/**
 * A generated message as the JSON of an event: field names in snake_case, bytes in base64, times in RFC 3339,
 * 64-bit numbers as numbers; unset fields are left out.
 */
export function toEventJson(message: object): JsonObject {
  const json: JsonObject = {};
  for (const [key, value] of Object.entries(message)) {
    if (value === undefined) continue;
    json[snake(key)] = MAPS.has(key) ? (value as JsonObject) : jsonOf(value);
  }
  return json;
}

function jsonOf(value: unknown): JsonValue {
  if (typeof value === "bigint") return Number(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (Array.isArray(value)) return value.map(jsonOf);
  if (isTimestamp(value)) return formatTime(value);
  if (typeof value === "object" && value !== null) return toEventJson(value);
  return value as JsonValue;
}

/** The way back, for a message whose defaults are given: they tell 64-bit numbers and bytes. */
export function fromEventJson(json: JsonObject, defaults: Record<string, unknown>): Record<string, unknown> {
  const message: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(json))
    message[camel(key)] = fieldOf(camel(key), value, defaults[camel(key)]);
  return message;
}

function fieldOf(key: string, value: JsonValue, byDefault: unknown): unknown {
  if (MAPS.has(key)) return value;
  if (typeof byDefault === "bigint") return BigInt(String(value));
  if (key.endsWith("At") && typeof value === "string") return parseTime(value);
  if (Array.isArray(value)) return value.map((item) => fieldOf("", item, undefined));
  if (typeof value === "object" && value !== null) {
    // The only nested bytes of containerd's events are those of an Any.
    const any = {
      value:
        typeof value.type_url === "string" ? Buffer.from(String(value.value ?? ""), "base64") : value.value,
    };
    const nested = fromEventJson(value, {});
    return any.value === undefined ? nested : { ...nested, ...any };
  }
  return value;
}

function isTimestamp(value: unknown): value is Timestamp {
  return (
    typeof value === "object" && value !== null && "seconds" in value && typeof value.seconds === "bigint"
  );
}

/** A time of day in RFC 3339 with nine digits, as containerd and Docker print it. */
export function formatTime({ seconds, nanos }: Timestamp): string {
  return new Date(Number(seconds) * 1000)
    .toISOString()
    .replace(/\.\d+Z$/, `.${String(nanos).padStart(9, "0")}Z`);
}

/** Reads RFC 3339 in UTC with up to nine digits. */
export function parseTime(text: string): Timestamp {
  const [whole = "", fraction = ""] = text.replace(/Z$/, "").split(".");
  return {
    seconds: BigInt(Math.floor(Date.parse(`${whole}Z`) / 1000)),
    nanos: Number(fraction.padEnd(9, "0").slice(0, 9)),
  };
}

/** Now, by the kernel's clock. */
export function now(): Timestamp {
  const { seconds, nanos } = realTime();
  return { seconds: BigInt(seconds), nanos };
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function camel(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
