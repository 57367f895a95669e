import { O_APPEND, O_CLOEXEC, O_CREAT, O_WRONLY, openFile, writeAll } from "@longshore/syscalls";

// Not pino: the shims read these very lines, logrus's, from the file (`level`, `msg`, `time`), and runc must not pay for a
// logger on its way to a container.

export interface LogTarget {
  path: string;
  format: "text" | "json";
  debug: boolean;
}

let target: LogTarget = { path: "", format: "text", debug: false };

export function setLog(next: LogTarget): void {
  target = next;
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
  const fd = openFile(target.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o666);
  writeAll(fd, line);
}

/** Report what made the command fail: in the log, and in words on stderr when the log is elsewhere. */
export function reportFailure(message: string): void {
  try {
    log("error", message);
  } catch (error) {
    writeAll(2, `${String(error)}\n`);
  }
  if (target.path !== "") writeAll(2, `${message}\n`);
}
