import { CliError } from "../cli-error.ts";

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

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

/** `1h30m` → ms; undefined when it is no Go duration. */
function parseDuration(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, number, unit = ""] of text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)) {
    total += Number(number) * (UNIT_MS[unit] ?? 0);
  }
  return total;
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
