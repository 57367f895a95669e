import {
  close,
  errnoNumber,
  errnoText,
  O_APPEND,
  O_CLOEXEC,
  O_CREAT,
  O_WRONLY,
  openFile,
  writeAll,
} from "@longshore/syscalls";

// Not pino: the shims read these very lines, logrus's, from the file (`level`, `msg`, `time`), and runc must not pay for a
// logger on its way to a container.

export interface LogTarget {
  path: string;
  format: "text" | "json";
  debug: boolean;
}

let target: LogTarget = { path: "", format: "text", debug: false };

/** A file that can't be written is told before anything else is done. */
export function setLog(next: LogTarget): void {
  if (next.path !== "") close(openLog(next.path));
  target = next;
}

function openLog(path: string): number {
  return openFile(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o666);
}

/** One line in the shape of the original's logger, seconds in its time. */
export function logLine(format: "text" | "json", level: string, message: string, now = new Date()): string {
  const time = `${now.toISOString().slice(0, 19)}Z`;
  if (format === "json") return `${JSON.stringify({ level, msg: message, time })}\n`;
  return `time=${JSON.stringify(time)} level=${level} msg=${JSON.stringify(message)}\n`;
}

export function log(level: "debug" | "warning" | "error", message: string): void {
  if (level === "debug" && !target.debug) return;
  const line = logLine(target.format, level, message);
  if (target.path === "") {
    writeAll(2, line);
    return;
  }
  const fd = openLog(target.path);
  writeAll(fd, line);
  close(fd);
}

/** `open FILE: ENOENT` as callers and users know it: `open FILE: no such file or directory`. */
function inWords(message: string): string {
  return message.replace(/(?<=: )E[A-Z0-9]+$/, (name) => {
    const number = errnoNumber(name);
    return number === undefined ? name : errnoText(number);
  });
}

/** Report what made the command fail: in the log, and in words on stderr when the log is elsewhere. */
export function reportFailure(failure: string): void {
  const message = inWords(failure);
  try {
    log("error", message);
  } catch (error) {
    writeAll(2, `${String(error)}\n`);
  }
  if (target.path !== "") writeAll(2, `${message}\n`);
}
