import { createLogger, type Logger } from "@longshore/log";
import { close, O_CLOEXEC, O_NONBLOCK, openFile, writeAll } from "@longshore/syscalls";

let logger: Logger | undefined;
let settings = { file: "log", debug: false };

/** Where log lines go: the FIFO that containerd reads in the bundle. Nothing is opened before the first line. */
export function configureLog(next: typeof settings): void {
  settings = next;
}

/** The shim's log; pino is loaded when it is first used, which in most shims' lives is never. */
export function log(): Logger {
  logger ??= createLogger("containerd-shim-runc-v2", {
    level: settings.debug ? "debug" : "info",
    stream: { write: writeLine },
  });
  return logger;
}

/** Debugging is off for most: don't load pino to find that out. */
export function logDebug(fields: object, words: string): void {
  if (settings.debug) log().debug(fields, words);
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
