import { Errno } from "@longshore/errors";
import { addressOf, check, fixedBuffer, scratch, syscall } from "./call.ts";
import { EINTR, ESRCH, P_PID, WEXITED, WNOHANG, WNOWAIT } from "./constants.ts";
import { close, readDirectory, readText, readTextIfExists } from "./files.ts";
import * as NR from "./numbers.ts";

/** unshare(2). Read the notes in the README before using CLONE_NEWPID or CLONE_NEWUSER. */
export function unshare(flags: number): void {
  check(syscall(NR.unshare, flags), "unshare", `0x${flags.toString(16)}`);
}

/** setns(2): a namespace descriptor with its CLONE_NEW* type (0: any), or a pidfd with several types. */
export function setns(fd: number, type = 0): void {
  check(syscall(NR.setns, fd, type), "setns", String(fd));
}

/** The time of day by the kernel's clock, since 1970. */
export function realTime(): { seconds: number; nanos: number } {
  const { bytes, base } = scratch();
  check(syscall(NR.clock_gettime, 0, base), "clock_gettime");
  return { seconds: bytes.readUInt32LE(0) + bytes.readUInt32LE(4) * 2 ** 32, nanos: bytes.readUInt32LE(8) };
}

/** So many random bytes, in hexadecimal. */
export function randomHex(length: number): string {
  const arena = scratch();
  const at = arena.room(length);
  check(syscall(NR.getrandom, arena.base + at, length, 0), "getrandom");
  return arena.bytes.toString("hex", at, at + length);
}

/** kill(2). Signal 0 asks only whether the process is there. */
export function kill(pid: number, signal: number): void {
  check(syscall(NR.kill, pid, signal), "kill", String(pid));
}

/** The signals that this process ignores: execve passes that on, unlike handlers. */
export function ignoredSignals(): number[] {
  const status = readText("/proc/thread-self/status");
  const at = status.indexOf("SigIgn:\t") + 8;
  const words = [Number(`0x${status.slice(at + 8, at + 16)}`), Number(`0x${status.slice(at, at + 8)}`)];
  const ignored: number[] = [];
  for (let word = 0; word < 2; word++) {
    for (let bits = words[word] ?? 0; bits !== 0; bits &= bits - 1) {
      ignored.push(32 * word + 32 - Math.clz32(bits & -bits));
    }
  }
  return ignored;
}

/** Whether a process with this number runs. A zombie does not: one whose parent never waits for it (process 1 of many a container) stays. */
export function isAlive(pid: number): boolean {
  if (pid <= 0 || syscall(NR.kill, pid, 0) === -ESRCH) return false;
  const stat = readTextIfExists(`/proc/${pid}/stat`);
  if (stat === undefined) return syscall(NR.kill, pid, 0) !== -ESRCH; // gone meanwhile, or hidden from us
  // The name stands in brackets and may hold anything.
  const state = stat[stat.lastIndexOf(")") + 2];
  return state !== "Z" && state !== "X";
}

/** pidfd_open(2): becomes readable when the process ends. */
export function pidfdOpen(pid: number): number {
  return check(syscall(NR.pidfd_open, pid, 0), "pidfd_open", String(pid));
}

export function pidfdSendSignal(pidfd: number, signal: number): void {
  check(syscall(NR.pidfd_send_signal, pidfd, signal, 0, 0), "pidfd_send_signal", String(pidfd));
}

/**
 * Signal a process by its pidfd, after a check that is made while the pidfd is open. A pid that the kernel has given to another
 * process meanwhile fails the check, and one that changes hands after it does not get the signal.
 *
 * @param isStill whether the number is that of the process which the caller means
 * @returns whether the process was there and the same
 */
export function signalIf(pid: number, signal: number, isStill: () => boolean): boolean {
  try {
    const pidfd = pidfdOpen(pid);
    try {
      if (!isStill()) return false;
      pidfdSendSignal(pidfd, signal);
      return true;
    } finally {
      close(pidfd);
    }
  } catch (error) {
    if (error instanceof Errno && error.code === "ESRCH") return false;
    throw error;
  }
}

/** Whether a process is our child and has not been reaped, so that its number can't belong to another process. */
export function isOwnChild(pid: number): boolean {
  try {
    waitId(P_PID, pid, WEXITED | WNOHANG | WNOWAIT);
    return true;
  } catch (error) {
    if (error instanceof Errno && error.code === "ECHILD") return false;
    throw error;
  }
}

/** Copy a descriptor out of another process. */
export function pidfdGetfd(pidfd: number, fd: number): number {
  return check(syscall(NR.pidfd_getfd, pidfd, fd, 0), "pidfd_getfd", String(fd));
}

export interface Exit {
  pid: number;
  /** 0–255; 128 + n when signal n ended it. */
  status: number;
}

/** wait4(2): reap a child (`pid` -1: any). Undefined when WNOHANG was given and none has ended. */
export function waitPid(pid: number, options = 0): Exit | undefined {
  const arena = scratch();
  const at = arena.room(4);
  for (;;) {
    const found = syscall(NR.wait4, pid, arena.base + at, options, 0);
    if (found === -EINTR) continue;
    if (check(found, "wait4", String(pid)) === 0) return undefined;
    return { pid: found, status: exitStatus(arena.bytes.readInt32LE(at)) };
  }
}

/**
 * List the pids of the calling thread's children, those that have ended and are not reaped included.
 *
 * @see proc_pid_children(5)
 */
export function ownChildren(): number[] {
  const text = readTextIfExists("/proc/thread-self/children") ?? childrenByParent().join(" ");
  return text.split(" ").filter(Boolean).map(Number);
}

/** As {@link ownChildren}, on a kernel without CONFIG_PROC_CHILDREN. */
function childrenByParent(): number[] {
  const own = process.pid;
  return readDirectory("/proc").flatMap(({ name }) => {
    if (!/^\d+$/.test(name)) return [];
    const stat = readTextIfExists(`/proc/${name}/stat`);
    // The parent is the second field after the name, which ends with the last parenthesis.
    const parent = stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[1];
    return Number(parent) === own ? [Number(name)] : [];
  });
}

/** A wait status as a shell would report it. */
export function exitStatus(waitStatus: number): number {
  const signal = waitStatus & 127;
  return signal === 0 ? (waitStatus >> 8) & 255 : 128 + signal;
}

/** waitid(2): the pid of a child that has ended, or undefined. With WNOWAIT in `options` it stays to be reaped. */
export function waitId(type = P_PID, id = 0, options = WEXITED | WNOHANG): number | undefined {
  const arena = scratch();
  const at = arena.room(128);
  check(syscall(NR.waitid, type, id, arena.base + at, options, 0), "waitid", String(id));
  const pid = arena.bytes.readInt32LE(at + 16);
  return pid === 0 ? undefined : pid;
}

/** poll(2) one descriptor for reading; false on timeout. */
export function waitReadable(fd: number, timeoutMs: number): boolean {
  const arena = scratch();
  const at = arena.room(8);
  arena.bytes.writeInt32LE(fd, at);
  arena.bytes.writeInt16LE(1, at + 4);
  const n = syscall(NR.poll, arena.base + at, 1, timeoutMs);
  return n === -EINTR ? false : check(n, "poll") > 0;
}

export function setsid(): number {
  return check(syscall(NR.setsid), "setsid");
}

export function getppid(): number {
  return syscall(NR.getppid);
}

export function prctl(option: number, a = 0, b = 0, c = 0, d = 0): number {
  return check(syscall(NR.prctl, option, a, b, c, d), "prctl", String(option));
}

/** The name that `ps -o comm` shows; cut at 15 bytes. */
export function setProcessName(name: string): void {
  check(syscall(NR.prctl, 15, scratch().string(name)), "prctl", "PR_SET_NAME");
}

export function setHostname(name: string): void {
  const bytes = Buffer.byteLength(name);
  check(syscall(NR.sethostname, scratch().string(name), bytes), "sethostname", name);
}

/**
 * Become another program. Returns only by throwing. `path` is not searched for; descriptors without close-on-exec, ignored
 * signals and the working directory carry over.
 */
export function execve(path: string, argv: readonly string[], env: readonly string[]): never {
  // Own memory: arguments and environment may be much larger than the scratch arena.
  const texts = [path, ...argv, ...env].map((text) => Buffer.from(`${text}\0`));
  const pointers = fixedBuffer(8 * (argv.length + env.length + 2));
  const strings = fixedBuffer(texts.reduce((sum, text) => sum + text.length, 0));
  const base = addressOf(strings);
  let at = 0;
  const addresses = texts.map((text) => {
    strings.set(text, at);
    at += text.length;
    return base + at - text.length;
  });
  for (const [index, address] of addresses.slice(1).entries()) {
    const slot = index < argv.length ? index : index + 1; // one NULL between the two tables
    pointers.writeBigUInt64LE(BigInt(address), 8 * slot);
  }
  const table = addressOf(pointers);
  const result = syscall(NR.execve, base, table, table + 8 * (argv.length + 1));
  check(result, "execve", path);
  throw new Error("execve returned");
}

export interface Limit {
  soft: bigint;
  hard: bigint;
}

/** The limit of a process (0: this one) and, when `next` is given, a new one in its place. Infinity is 2^64 − 1. */
export function prlimit(pid: number, resource: number, next?: Limit): Limit {
  const arena = scratch();
  const at = arena.room(32);
  if (next) {
    arena.bytes.writeBigUInt64LE(next.soft, at);
    arena.bytes.writeBigUInt64LE(next.hard, at + 8);
  }
  check(
    syscall(NR.prlimit64, pid, resource, next ? arena.base + at : 0, arena.base + at + 16),
    "prlimit64",
    String(resource),
  );
  return { soft: arena.bytes.readBigUInt64LE(at + 16), hard: arena.bytes.readBigUInt64LE(at + 24) };
}

/** Numbers of the limits by their names in the runtime specification. */
export const RLIMITS: Readonly<Record<string, number>> = {
  RLIMIT_CPU: 0,
  RLIMIT_FSIZE: 1,
  RLIMIT_DATA: 2,
  RLIMIT_STACK: 3,
  RLIMIT_CORE: 4,
  RLIMIT_RSS: 5,
  RLIMIT_NPROC: 6,
  RLIMIT_NOFILE: 7,
  RLIMIT_MEMLOCK: 8,
  RLIMIT_AS: 9,
  RLIMIT_LOCKS: 10,
  RLIMIT_SIGPENDING: 11,
  RLIMIT_MSGQUEUE: 12,
  RLIMIT_NICE: 13,
  RLIMIT_RTPRIO: 14,
  RLIMIT_RTTIME: 15,
};

/** keyctl(2) with numbers. */
export function keyctl(operation: number, a = 0, b = 0, c = 0, d = 0): number {
  return check(syscall(NR.keyctl, operation, a, b, c, d), "keyctl", String(operation));
}

/** Sleep without the event loop: for one-shot programs that poll. */
export function sleepMs(ms: number): void {
  syscall(NR.poll, 0, 0, ms);
}
