/** One entry of a json-file log. */
export interface LogEntry {
  stream: "stdout" | "stderr";
  /** As written by the container: with its newline, or without when the line was split. */
  text: string;
  /** RFC 3339 with up to nine digits of fraction. */
  time: string;
}

/** @returns undefined for a line that isn't an entry, such as one that was cut off by a crash */
export function parseLogLine(line: string): LogEntry | undefined {
  try {
    const { log, stream, time } = JSON.parse(line) as Record<string, unknown>;
    if (typeof log !== "string" || typeof time !== "string") return undefined;
    return { text: log, stream: stream === "stderr" ? "stderr" : "stdout", time };
  } catch {
    return undefined;
  }
}

/** Nanoseconds since 1970 of an RFC 3339 time. */
export function timeToNano(time: string): bigint {
  const [, fraction = ""] = /\.([0-9]+)/.exec(time) ?? [];
  const whole = Date.parse(time.replace(/\.[0-9]+/, ""));
  if (Number.isNaN(whole)) return 0n;
  return BigInt(whole) * 1_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, "0"));
}

/** The same time with all nine digits, as `docker logs -t` prints it. */
export function fullPrecision(time: string): string {
  const [, whole = time, fraction = "", zone = ""] = /^([^.Z+]*)(?:\.([0-9]+))?(Z|[+-].*)?$/.exec(time) ?? [];
  return `${whole}.${fraction.slice(0, 9).padEnd(9, "0")}${zone || "Z"}`;
}
