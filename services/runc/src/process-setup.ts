import type { Group } from "@longshore/cgroups";
import { EngineError, isErrno } from "@longshore/errors";
import type { Linux, Process } from "@longshore/oci";
import {
  AF_UNIX,
  close,
  connectUnix,
  type Hand,
  isOpen,
  O_CLOEXEC,
  O_WRONLY,
  pidfdOpen,
  readlink,
  rename,
  SOCK_STREAM,
  sendFds,
  socket,
  writeControl,
  writeFile,
} from "@longshore/syscalls";
import { checkAttributes, checkLabels, checkPersonality, memoryPolicyOf } from "./attributes.ts";
import { isRootless } from "./rootless.ts";

// What the making of an init process and of a further one have in common.

export interface Foreground {
  /** Called when it is known whether the process has a terminal, before the process is made. */
  prepare(terminal: boolean): void;
  /** Called with the master of the terminal, before the process runs. */
  serve(master: number): void;
}

/** Who takes the terminal of a process. */
export interface Caller {
  consoleSocket: string | undefined;
  foreground: Foreground | undefined;
}

/** What the original refuses before it makes anything. */
export function checkProcess(
  process: Process,
  { linux, ...caller }: Caller & { linux: Linux | undefined },
): void {
  if (process.cwd === "") throw new EngineError("invalid_argument", "Cwd property must not be empty");
  if (!process.cwd.startsWith("/")) throw new EngineError("invalid_argument", "Cwd must be an absolute path");
  if ((process.args ?? []).length === 0) throw new EngineError("invalid_argument", "args must not be empty");
  checkLabels(process, linux?.mountLabel);
  checkAttributes(process);
  if (linux?.personality) checkPersonality(linux.personality);
  if (linux?.memoryPolicy) memoryPolicyOf(linux.memoryPolicy);
  checkTerminal(process, caller);
}

/** Whether somebody is there to take the process's terminal. */
function checkTerminal(process: Process, { consoleSocket, foreground }: Caller): void {
  const terminal = process.terminal === true;
  if (foreground === undefined && terminal && consoleSocket === undefined) {
    throw new EngineError(
      "invalid_argument",
      "cannot allocate tty if runc will detach without setting console socket",
    );
  }
  if ((foreground !== undefined || !terminal) && consoleSocket !== undefined) {
    throw new EngineError(
      "invalid_argument",
      "cannot use console socket if runc will not detach or allocate tty",
    );
  }
}

export function connectConsole(path: string): number {
  const fd = socket(AF_UNIX, SOCK_STREAM);
  connectUnix(fd, path);
  return fd;
}

/** The descriptors that the caller wants the process to have, beside those of socket activation, which come first. */
export function checkPreservedFds(count: number, listenFds = 0): void {
  const first = 3 + listenFds;
  for (let fd = first; fd < first + count; fd++) {
    // The engine's own descriptors are in the places that the caller has left free.
    if (!isOpen(fd) || readlink(`/proc/self/fd/${fd}`).startsWith("anon_inode:[event")) {
      throw new EngineError(
        "invalid_argument",
        `unable to stat preserved-fd ${fd - first} (of ${count}): no such file or directory`,
      );
    }
  }
}

/** Hand a descriptor of a process over to whoever listens at a socket; `kind` is what the original sends with it. */
export function sendPidfd(path: string, pid: number, kind: "standard" | "setns"): void {
  const socketFd = connectConsole(path);
  const pidfd = pidfdOpen(pid);
  sendFds(socketFd, Buffer.from(kind), [pidfd]);
  close(pidfd);
  close(socketFd);
}

/** Queue: into the cgroup. Writing "0" to `tasks` of v1 spares the lock that a move of another process takes. */
export function joinGroup(hand: Hand, group: Group): void {
  const zero = hand.text("0");
  for (const { version, path } of group.directories) {
    if (version !== 1) continue;
    const tasks = `${path}/tasks`;
    const fd = hand.call("openat", [-100, hand.text(tasks), O_WRONLY | O_CLOEXEC], { about: tasks });
    hand.call("write", [fd, zero, 1], { about: tasks });
    hand.call("close", [fd]);
  }
}

export function writeOomScore(pid: number, score: number | undefined): void {
  if (score === undefined) return;
  try {
    writeControl(`/proc/${pid}/oom_score_adj`, String(score));
  } catch (error) {
    if (!isRootless() || !isErrno(error, "EACCES")) throw error;
  }
}

/** The whole file at once: who waits for it never sees half a number. */
export function writePidFile(path: string, pid: number): void {
  const at = path.lastIndexOf("/");
  const part = `${path.slice(0, at + 1)}.${path.slice(at + 1)}`;
  writeFile(part, String(pid));
  rename(part, path);
}
