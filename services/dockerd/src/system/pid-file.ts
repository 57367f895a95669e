import fs from "node:fs";
import path from "node:path";
import { EngineError, isErrno } from "@longshore/errors";
import { isAlive } from "@longshore/syscalls";

/**
 * Write this process's id into a file, until what is returned is disposed of. A file that a dead daemon has left, or whose number another
 * program has now, is taken over.
 *
 * @throws EngineError `failed_precondition` in Docker's words while the file's daemon runs, `invalid_argument` for a file of something else
 */
export function writePidFile(file: string): Disposable {
  const holder = readHolder(file);
  if (holder !== undefined && holder !== process.pid && isDaemon(holder)) {
    throw new EngineError(
      "failed_precondition",
      `failed to start daemon, ensure docker is not running or delete ${file}: process with PID ${holder} is still running`,
    );
  }
  fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o755 });
  const temporary = `${file}.${process.pid}`;
  fs.writeFileSync(temporary, `${process.pid}\n`, { mode: 0o644 });
  fs.renameSync(temporary, file);
  return {
    [Symbol.dispose]: () => {
      // Another daemon's by now, when somebody removed ours.
      if (readHolder(file) === process.pid) fs.rmSync(file, { force: true });
    },
  };
}

/** The number in the file; undefined when there is none, or nothing in it. */
function readHolder(file: string): number | undefined {
  let text: string;
  try {
    text = fs.readFileSync(file, "utf8").trim();
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
  if (text === "") return undefined;
  if (/^[1-9]\d{0,9}$/.test(text)) return Number(text);
  // Somebody mistook another file for the pid file: it isn't ours to overwrite.
  throw new EngineError("invalid_argument", `pidfile: ${file} holds something else than a process id`);
}

/** Whether a process runs that is called as this one is. */
function isDaemon(pid: number): boolean {
  if (!isAlive(pid)) return false;
  const name = (id: number | "self") => fs.readFileSync(`/proc/${id}/comm`, "utf8").trim();
  try {
    return name(pid) === name("self");
  } catch {
    return false; // it ended meanwhile
  }
}
