import type { Timestamp } from "@longshore/api/google/protobuf/timestamp";

export function toTimestamp(date: Date): Timestamp {
  const ms = date.getTime();
  return { seconds: BigInt(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1_000_000 };
}

/** RFC 3339 with nanoseconds, trailing zeros left out, as Go prints it. */
export function fromTimestamp({ seconds, nanos }: Timestamp): string {
  const whole = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  const fraction = String(nanos).padStart(9, "0").replace(/0+$/, "");
  return `${whole}${fraction && `.${fraction}`}Z`;
}

/** RFC 3339 without the zeros at the end of its fraction, as Go prints it: one moment has one text, whoever tells of it. */
export function trimTime(text: string): string {
  return text.replace(/\.(\d*?)0*Z$/, (_, digits: string) => (digits === "" ? "Z" : `.${digits}Z`));
}
