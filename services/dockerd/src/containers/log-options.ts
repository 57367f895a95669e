import { EngineError } from "@longshore/errors";
import type { JsonFileLog } from "@longshore/stdio";
import type { HostConfig } from "./container-config.ts";

const UNIT: Record<string, number> = { "": 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

/** How a container's output is kept. */
export type LogOptions = Omit<JsonFileLog, "path">;

/**
 * @returns undefined for `--log-driver none`
 * @throws EngineError `invalid_argument` for another driver than json-file and none, or an unknown option
 */
export function logOptionsOf({
  LogConfig: { Type, Config },
}: Pick<HostConfig, "LogConfig">): LogOptions | undefined {
  if (Type === "none") return undefined;
  if (Type !== "" && Type !== "json-file") {
    throw new EngineError("invalid_argument", `HostConfig.LogConfig: log driver ${Type} is not supported`);
  }
  for (const key of Object.keys(Config)) {
    if (key !== "max-size" && key !== "max-file") {
      throw new EngineError("invalid_argument", `unknown log opt '${key}' for json-file log driver`);
    }
  }
  const maxSizeBytes = Config["max-size"] === undefined ? undefined : parseSize(Config["max-size"]);
  const maxFiles = Config["max-file"] === undefined ? undefined : Number(Config["max-file"]);
  if (maxFiles !== undefined && !(Number.isInteger(maxFiles) && maxFiles >= 1)) {
    throw new EngineError("invalid_argument", "max-file cannot be less than 1");
  }
  if (maxFiles !== undefined && maxFiles > 1 && maxSizeBytes === undefined) {
    throw new EngineError("invalid_argument", "max-file option requires max-size option");
  }
  return { ...(maxSizeBytes !== undefined && { maxSizeBytes }), ...(maxFiles !== undefined && { maxFiles }) };
}

/** The daemon's log driver for a container that names none, and its options for what a container leaves open with that driver. */
export function withDefaultLog(
  { Type, Config }: HostConfig["LogConfig"],
  { logDriver, logOpts }: { logDriver: string; logOpts: Record<string, string> },
): HostConfig["LogConfig"] {
  const type = Type || logDriver;
  return { Type: type, Config: type === logDriver ? { ...logOpts, ...Config } : Config };
}

function parseSize(text: string): number | undefined {
  if (text === "-1") return undefined;
  const [, digits, unit] = /^([0-9]+)([kmg]?)b?$/i.exec(text) ?? [];
  if (digits === undefined) throw new EngineError("invalid_argument", `invalid size: '${text}'`);
  return Number(digits) * (UNIT[unit?.toLowerCase() ?? ""] ?? 1);
}
