import { formatTime } from "@longshore/events/publisher";
import {
  check,
  close,
  mkdirAll,
  O_CLOEXEC,
  openFile,
  rename,
  syscall,
  unlink,
  writeAll,
} from "@longshore/syscalls";
import type { ProcessEnd } from "./reaper.ts";

const NR_FSYNC = 74;
const WRITE_NEW = 0o1 | 0o100 | 0o1000 | O_CLOEXEC;

/**
 * Write an exit down in `<bundle>/exits/<exec id or "init">.json`, on disk when this returns: from then on it is known, whoever
 * dies next.
 */
export function recordExit(bundle: string, execId: string, { pid, status, at }: ProcessEnd): void {
  const file = exitFile(bundle, execId);
  mkdirAll(`${bundle}/exits`, 0o700);
  const fd = openFile(`${file}.part`, WRITE_NEW, 0o600);
  try {
    writeAll(fd, JSON.stringify({ pid, exit_status: status, exited_at: formatTime(at) }));
    check(syscall(NR_FSYNC, fd), "fsync", file);
  } finally {
    close(fd);
  }
  rename(`${file}.part`, file);
}

/** The exec process was deleted: its id may be used again. */
export function forgetExit(bundle: string, execId: string): void {
  try {
    unlink(exitFile(bundle, execId));
  } catch {
    // it never ran
  }
}

function exitFile(bundle: string, execId: string): string {
  return `${bundle}/exits/${execId || "init"}.json`;
}
