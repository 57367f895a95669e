import type { Logger, LoggerOptions } from "pino";
import { toLogfmt } from "./logfmt.ts";

export type { Logger } from "pino";

/** Levels of `--log-level`, as the originals name them. */
export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "panic"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LogOptions {
  level?: LogLevel;
  /** File descriptor to write to; stderr when left out. */
  fd?: number;
  /** Undefined: pretty on a terminal, else JSON. `text` is `key=value`, as Docker's daemons write it. */
  format?: "text" | "json" | undefined;
  /** Takes the lines in place of a descriptor, JSON always. */
  stream?: { write(line: string): void };
}

/** Kept of what could not be written yet. */
const MAX_UNWRITTEN_BYTES = 256 << 10;

/**
 * The logger of a binary: JSON lines, or pretty when the destination is a terminal.
 * pino is loaded here and not with the module, so that runc and the shim pay for it only when they log.
 */
export function createLogger(
  name: string,
  { level = "info", fd = 2, format, stream }: LogOptions = {},
): Logger {
  const { pino, destination } = require("pino") as typeof import("pino") & {
    pino: typeof import("pino").pino;
  };
  const options: LoggerOptions = { name, level: level === "panic" ? "fatal" : level };
  if (stream) return pino(options, stream);
  if (!format && require("node:tty").isatty(fd)) {
    const { PinoPretty } = require("pino-pretty") as typeof import("pino-pretty");
    return pino(options, PinoPretty({ destination: fd, sync: true, colorize: true }));
  }
  const sink = destination({ dest: fd, sync: true, maxLength: MAX_UNWRITTEN_BYTES });
  // A log that can't be written, on a full disk, is no reason to end; what there is no room for is dropped.
  sink.on("error", () => {});
  if (format === "text") return pino(options, { write: (line: string) => sink.write(toLogfmt(line)) });
  return pino(options, sink);
}

/** A logger that loads pino at its first message. */
export function lazyLogger(name: string, options: LogOptions = {}): () => Logger {
  let logger: Logger | undefined;
  return () => {
    logger ??= createLogger(name, options);
    return logger;
  };
}
