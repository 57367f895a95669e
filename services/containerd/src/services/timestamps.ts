import type { Timestamp } from "@longshore/api/google/protobuf/timestamp";

/** A date of node's as protobuf has it. */
export function timestampOf(date: Date): Timestamp {
  const ms = date.getTime();
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: Math.floor((ms - seconds * 1000) * 1e6) };
}
