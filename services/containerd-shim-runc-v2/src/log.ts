import { hostName } from "@longshore/events/publisher";
import { close, O_CLOEXEC, O_NONBLOCK, openFile, writeAll } from "@longshore/syscalls";

/** Lines as pino writes them, which would cost the shim 1.5 MB from its first line on. containerd logs them through pino. */
export interface ShimLog {
  debug(fields: object, words: string): void;
  info(fields: object, words: string): void;
  warn(fields: object, words: string): void;
  error(fields: object, words: string): void;
}

let settings = { file: "log", debug: false };

/** Where log lines go: the FIFO that containerd reads in the bundle. Nothing is opened before the first line. */
export function configureLog(next: typeof settings): void {
  settings = next;
}

const logger: ShimLog = {
  debug: (fields, words) => settings.debug && writeLine(formatLine(20, fields, words)),
  info: (fields, words) => writeLine(formatLine(30, fields, words)),
  warn: (fields, words) => writeLine(formatLine(40, fields, words)),
  error: (fields, words) => writeLine(formatLine(50, fields, words)),
};

/** The shim's log. */
export function log(): ShimLog {
  return logger;
}

/** A line of JSON with its end. @param level pino's number */
export function formatLine(level: number, fields: object, words: string): string {
  const origin = { pid: process.pid, hostname: hostName(), name: "containerd-shim-runc-v2" };
  const shown = Object.entries(fields).map(([name, value]) => [name, plain(value)]);
  return `${JSON.stringify({ level, time: Date.now(), ...origin, ...Object.fromEntries(shown), msg: words })}\n`;
}

/** An error as pino's serializer shows it. */
function plain(value: unknown): unknown {
  if (!(value instanceof Error)) return value;
  const { name: type, message, stack } = value;
  const { code } = value as { code?: unknown };
  return { type, message, stack, ...(code !== undefined && { code }) };
}

/** A line that nobody reads is lost: the log must never hold up the container. */
function writeLine(line: string): void {
  try {
    // Both ends, so that a containerd that went away is no broken pipe.
    const fd = openFile(settings.file, 2 | O_NONBLOCK | O_CLOEXEC);
    try {
      writeAll(fd, line);
    } finally {
      close(fd);
    }
  } catch {
    // no FIFO, or full
  }
}
