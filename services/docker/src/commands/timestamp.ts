import { CliError } from "../cli-error.ts";
import { parseDuration } from "../format/duration.ts";

/**
 * A moment as users give it (`42m` ago, RFC 3339 or a part of it in local time, unix seconds) → unix seconds with nanoseconds, as the API
 * wants it; undefined for an empty text.
 */
export function parseTimestamp(flag: string, text: string, now: number): string | undefined {
  if (text === "") return undefined;
  if (/^-?\d+(\.\d+)?$/.test(text)) return text;
  const ago = parseDuration(text);
  if (ago !== undefined) return seconds(now - ago);
  const date = /^\d{4}-\d{2}-\d{2}(T\d{2}(:\d{2}(:\d{2}(\.\d+)?)?)?(Z|[+-]\d{2}:\d{2})?)?$/.test(text)
    ? Date.parse(completed(text))
    : Number.NaN;
  if (Number.isNaN(date)) {
    throw new CliError(
      `invalid value for ${JSON.stringify(flag)}: failed to parse value as time or duration: ${JSON.stringify(text)}`,
    );
  }
  const [, fraction = ""] = /\.(\d+)/.exec(text) ?? [];
  return `${Math.floor(date / 1000)}.${fraction.slice(0, 9).padEnd(9, "0")}`;
}

function completed(text: string): string {
  const [, date = "", time = "", zone = ""] =
    /^(\d{4}-\d{2}-\d{2})(?:T([\d:.]+))?(Z|[+-]\d{2}:\d{2})?$/.exec(text) ?? [];
  const parts = time.split(":");
  return `${date}T${[parts[0] || "00", parts[1] ?? "00", parts[2] ?? "00"].join(":")}${zone}`;
}

function seconds(ms: number): string {
  return `${Math.floor(ms / 1000)}.${String(Math.floor((ms % 1000) * 1e6)).padStart(9, "0")}`;
}
