import path from "node:path";
import type { JsonFileLog } from "@longshore/stdio";
import type { LogDriver, PlanInputs } from "./driver.ts";
import { journald } from "./journald.ts";
import { jsonFile } from "./json-file.ts";
import { boundedFile, local } from "./local.ts";
import type { LoggerConfig } from "./logger/open-sender.ts";
import { none } from "./none.ts";
import { invalid, type Options, parseBoolean, parseMemory } from "./options.ts";
import { syslog } from "./syslog.ts";

/** `LogConfig` of the API. */
export interface LogConfig {
  Type: string;
  Config: Readonly<Record<string, string>>;
}

const DRIVERS: ReadonlyMap<string, LogDriver> = new Map(
  [jsonFile, local, none, syslog, journald].map((driver) => [driver.name, driver]),
);
export const DRIVER_NAMES: readonly string[] = [...DRIVERS.keys()].sort();

/** Options of all drivers. */
const COMMON = ["mode", "max-buffer-size"];
const CACHE = "cache-";
const CACHE_OPTIONS = ["cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"];
const BUFFER_BYTES = 1 << 20;

/** @throws EngineError `invalid_argument` in Docker's words for an unknown driver or option, or one that can't be read */
export function checkLogConfig({ Type, Config }: LogConfig): void {
  const driver = driverOf(Type);
  if (driver === none) return;
  checkMode(Config);
  cacheOf(Config, "");
  driver.check(ownOptions(Config));
}

/** What is to become of a container's output. */
export interface LogPlan {
  /** Written by who has the output: the container's log, or the copy of what a remote driver takes away. */
  file?: JsonFileLog;
  /** What a process of its own gets as well, and does with it. */
  logger?: {
    config: LoggerConfig;
    /** How much is kept for it while it lags; more is dropped. Undefined: the container waits. */
    bufferBytes?: number;
  };
  /** What to read; undefined when there is nothing to be read. */
  readable?: string;
}

/** @throws EngineError as `checkLogConfig` */
export function logPlan({ Type, Config }: LogConfig, inputs: PlanInputs): LogPlan {
  const driver = driverOf(Type);
  const { file, remote } = driver.plan(ownOptions(Config), inputs);
  const bufferBytes = checkMode(Config);
  const buffer = bufferBytes === undefined ? {} : { bufferBytes };
  if (remote) {
    const cache = cacheOf(Config, path.join(inputs.directory, "cached.log"));
    return {
      ...(cache && { file: cache, readable: cache.path }),
      logger: { config: { remote }, ...buffer },
    };
  }
  if (!file) return {};
  // A disk may be slow too: whom nobody is to wait for writes in a process of its own.
  if (bufferBytes !== undefined) return { logger: { config: { file }, bufferBytes }, readable: file.path };
  return { file, readable: file.path };
}

function driverOf(name: string): LogDriver {
  const driver = name === "" ? jsonFile : DRIVERS.get(name);
  if (driver) return driver;
  // Docker takes a name that it doesn't know for a plugin's.
  throw invalid(`error looking up logging plugin ${name}: plugin "${name}" not found`);
}

function ownOptions(options: Options): Options {
  return Object.fromEntries(
    Object.entries(options).filter(([name]) => !COMMON.includes(name) && !CACHE_OPTIONS.includes(name)),
  );
}

/** @returns the size of the buffer of the mode `non-blocking` */
function checkMode(options: Options): number | undefined {
  const mode = options.mode ?? "";
  const size = options["max-buffer-size"];
  if (!["", "blocking", "non-blocking"].includes(mode)) {
    throw invalid(`logger: logging mode not supported: ${mode}`);
  }
  if (mode !== "non-blocking") {
    if (size === undefined) return undefined;
    throw invalid("logger: max-buffer-size option is only supported with 'mode=non-blocking'");
  }
  if (size === undefined) return BUFFER_BYTES;
  const bytes = parseMemory(size);
  if (bytes === undefined) throw invalid(`error parsing option max-buffer-size: invalid size: '${size}'`);
  return bytes;
}

/** The local copy of what a remote driver takes; undefined where it is not wanted. */
function cacheOf(options: Options, file: string): JsonFileLog | undefined {
  const given = Object.entries(options).filter(([name]) => CACHE_OPTIONS.includes(name));
  const own = Object.fromEntries(given.map(([name, value]) => [name.slice(CACHE.length), value]));
  const { disabled, ...bounds } = own;
  const cache = boundedFile(file, bounds);
  return disabled !== undefined && parseBoolean(disabled) ? undefined : cache;
}
