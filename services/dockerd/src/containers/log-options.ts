import { EngineError } from "@longshore/errors";
import type { JsonFileLog } from "@longshore/stdio";
import type { HostConfig } from "./container-config.ts";

/** Powers of 1000, as Docker reads them here. */
const UNITS = "kmgtp";
/** What Go's strconv.ParseBool takes. */
const BOOLEANS: Record<string, boolean> = Object.fromEntries([
  ...["1", "t", "T", "TRUE", "true", "True"].map((text) => [text, true]),
  ...["0", "f", "F", "FALSE", "false", "False"].map((text) => [text, false]),
]);
const NAMES = new Set(["max-size", "max-file", "compress"]);

/** How a container's output is kept. */
export type LogOptions = Omit<JsonFileLog, "path">;

/**
 * @returns undefined for `--log-driver none`
 * @throws EngineError `invalid_argument` for another driver than json-file and none, or an unknown option; in Docker's words
 */
export function logOptionsOf({
  LogConfig: { Type, Config },
}: Pick<HostConfig, "LogConfig">): LogOptions | undefined {
  if (Type === "none") return undefined;
  if (Type !== "" && Type !== "json-file") {
    throw new EngineError("invalid_argument", `HostConfig.LogConfig: log driver ${Type} is not supported`);
  }
  for (const key of Object.keys(Config)) {
    if (!NAMES.has(key)) throw invalid(`unknown log opt '${key}' for json-file log driver`);
  }
  const maxSizeBytes = Config["max-size"] === undefined ? undefined : parseSize(Config["max-size"]);
  const maxFiles = Config["max-file"] === undefined ? undefined : parseCount(Config["max-file"]);
  const compress = Config.compress !== undefined && parseBoolean(Config.compress);
  if (compress && ((maxFiles ?? 1) < 2 || maxSizeBytes === undefined)) {
    throw invalid("compress cannot be true when max-file is less than 2 or max-size is not set");
  }
  return {
    ...(maxSizeBytes !== undefined && { maxSizeBytes }),
    ...(maxFiles !== undefined && { maxFiles }),
    ...(compress && { compress }),
  };
}

/** The daemon's log driver for a container that names none, and its options for what a container leaves open with that driver. */
export function withDefaultLog(
  { Type, Config }: HostConfig["LogConfig"],
  { logDriver, logOpts }: { logDriver: string; logOpts: Record<string, string> },
): HostConfig["LogConfig"] {
  const type = Type || logDriver;
  return { Type: type, Config: type === logDriver ? { ...logOpts, ...Config } : Config };
}

function parseSize(text: string): number {
  const [, digits, unit = ""] = /^(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?$/i.exec(text) ?? [];
  if (digits === undefined) throw invalid(`invalid size: '${text}'`);
  const size = Math.trunc(Number(digits) * 1000 ** (UNITS.indexOf(unit.toLowerCase() || "-") + 1));
  if (size <= 0) throw invalid("max-size must be a positive number");
  return size;
}

function parseCount(text: string): number {
  if (!/^[+-]?\d+$/.test(text))
    throw invalid(`strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`);
  if (Number(text) < 1) throw invalid("max-file cannot be less than 1");
  return Number(text);
}

function parseBoolean(text: string): boolean {
  const value = BOOLEANS[text];
  if (value !== undefined) return value;
  throw invalid(`strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`);
}

function invalid(message: string): EngineError {
  return new EngineError("invalid_argument", message);
}
