import type { Timestamp } from "@longshore/api/google/protobuf/timestamp";

const NANOS_PER_MS = 1_000_000;

/** The present moment, to the microsecond. */
export function timestampNow(): Timestamp {
  const ms = performance.timeOrigin + performance.now();
  const seconds = Math.floor(ms / 1000);
  const micros = Math.floor((ms - seconds * 1000) * 1000);
  return { seconds: BigInt(seconds), nanos: micros * 1000 };
}

/** RFC 3339 in UTC with nine digits of the second: sorts as text and loses nothing. */
export function toRfc3339({ seconds, nanos }: Timestamp): string {
  const whole = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  return `${whole}.${String(nanos).padStart(9, "0")}Z`;
}

/** @throws RangeError for what is no RFC 3339 time */
export function fromRfc3339(text: string): Timestamp {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw new RangeError(`not a time: ${JSON.stringify(text)}`);
  const fraction = /\.(\d{1,9})/.exec(text)?.[1] ?? "";
  const nanos = fraction ? Number(fraction.padEnd(9, "0")) : (ms % 1000) * NANOS_PER_MS;
  return { seconds: BigInt(Math.floor(ms / 1000)), nanos };
}
