import { EngineError } from "@longshore/errors";

const UNIT_SECONDS: Record<string, number> = { h: 3600, m: 60, s: 1, ms: 1e-3, us: 1e-6, µs: 1e-6, ns: 1e-9 };
/** A length of time as Go reads it. */
const LENGTH = /([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ms|us|µs|ns|h|m|s)/g;
/** Go's are a 64-bit number of nanoseconds. */
const LONGEST_SECONDS = 2 ** 63 / 1e9;

/**
 * Nanoseconds since 1970 of what clients send as a time: seconds with a fraction (`1700000000.25`), RFC 3339, or a length
 * of time before now (`10m`, `1h30m`, `1.5h`).
 * @throws EngineError `invalid_argument`
 */
export function parseTime(text: string): bigint {
  const [, seconds, fraction = ""] = /^(-?[0-9]+)(?:\.([0-9]{1,9}))?$/.exec(text) ?? [];
  if (seconds !== undefined) return BigInt(seconds) * 1_000_000_000n + BigInt(fraction.padEnd(9, "0"));
  if (text !== "" && text.replace(LENGTH, "") === "") {
    const ago = [...text.matchAll(LENGTH)].reduce(
      (sum, [, number, unit = "s"]) => sum + Number(number) * (UNIT_SECONDS[unit] ?? 1),
      0,
    );
    if (ago > LONGEST_SECONDS) throw refused(text);
    return BigInt(Math.round(Date.now() - ago * 1000)) * 1_000_000n;
  }
  // Dates have no more than milliseconds, times of a log nine digits.
  const [, digits = ""] = /:[0-9]{2}\.([0-9]{1,9})/.exec(text) ?? [];
  const isDate = /^[0-9]{4}-[0-9]{2}-[0-9]{2}(T|$)/.test(text);
  const ms = isDate ? Date.parse(digits === "" ? text : text.replace(`.${digits}`, "")) : Number.NaN;
  if (Number.isNaN(ms)) throw refused(text);
  return BigInt(ms) * 1_000_000n + BigInt(digits.padEnd(9, "0"));
}

const refused = (text: string): EngineError =>
  new EngineError("invalid_argument", `invalid time: ${JSON.stringify(text)}`);
