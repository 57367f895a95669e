import { EngineError, Errno } from "@longshore/errors";
import type { Rooted } from "@longshore/mounts";
import { CAPABILITIES, capabilityBits, type Process, type Seccomp } from "@longshore/oci";
import { compileFilter } from "@longshore/seccomp";
import {
  type CallTable,
  callProgram,
  errnoText,
  type Hand,
  ignoredSignals,
  isOpen,
  O_DIRECTORY,
  O_NOCTTY,
  O_PATH,
  O_RDWR,
  PR_CAP_AMBIENT,
  PR_CAP_AMBIENT_CLEAR_ALL,
  PR_CAP_AMBIENT_RAISE,
  PR_CAPBSET_DROP,
  PR_SET_KEEPCAPS,
  PR_SET_NO_NEW_PRIVS,
  PR_SET_PDEATHSIG,
  parseStat,
  prlimit,
  programFile,
  programTable,
  RLIMITS,
  readText,
  type Slot,
  stat,
} from "@longshore/syscalls";

export interface ProcessPlan {
  process: Process;
  /** The process's end of its terminal, if it has one. */
  terminal: Slot | undefined;
  seccomp: Seccomp | undefined;
  /** Where compiled filters are kept. */
  cacheDirectory: string;
  noNewKeyring: boolean;
  /** Names the session keyring. */
  id: string;
  /** Descriptors 3 … 2 + n that the process keeps. */
  preserveFds: number;
  /** Read by the init process before it goes on; undefined for an exec. */
  fifoFd: number | undefined;
}

/** A failure in the words in which the original's callers expect it. */
export class StartError extends Error {
  override readonly name = "StartError";
}

/** A system error in Go's words: `no such file or directory`. */
export function reason(error: unknown): string {
  if (error instanceof Errno) return errnoText(error.errno);
  return error instanceof Error ? error.message : String(error);
}

function argsOf({ args }: Process): [string, ...string[]] {
  const [program, ...rest] = args ?? [];
  if (program === undefined) throw new EngineError("invalid_argument", "args must not be empty");
  return [program, ...rest];
}

/** The value of a variable; of several of one name the last counts, as the original has it. */
export function environmentValue(env: readonly string[], name: string): string | undefined {
  return env.findLast((entry) => entry.startsWith(`${name}=`))?.slice(name.length + 1);
}

/** The paths at which a program is looked for, in order. */
export function programCandidates(program: string, env: readonly string[]): string[] {
  if (program.includes("/")) return [program];
  const path = environmentValue(env, "PATH") ?? "";
  if (path === "") return [];
  return path
    .split(":")
    .map((directory) => `${directory === "" ? "." : directory.replace(/\/+$/, "")}/${program}`);
}

/** Go into the working directory, so that nothing of the host can be it (CVE-2024-21626). */
export function enterDirectory(rooted: Rooted, { cwd }: Process): void {
  const { hand } = rooted;
  if (cwd === "/" || cwd === "") {
    hand.call("fchdir", [rooted.root]);
    return;
  }
  if (!cwd.startsWith("/")) throw new EngineError("invalid_argument", "Cwd must be an absolute path");
  try {
    const directory = rooted.open(cwd, { flags: O_PATH | O_DIRECTORY });
    hand.call("fchdir", [directory], { about: cwd });
    rooted.close(directory);
    hand.run();
  } catch (error) {
    throw new StartError(`chdir to cwd (${JSON.stringify(cwd)}) set in config.json failed: ${reason(error)}`);
  }
}

/** Find the program inside the container. */
export function findProgram(hand: Hand, process: Process): string {
  const [program] = argsOf(process);
  const { arena } = hand.calls;
  const found = programCandidates(program, process.env ?? []).map((path) => {
    const at = arena.room(144);
    return {
      path,
      at,
      result: hand.call("newfstatat", [-100, hand.text(path), arena.base + at, 0], { skipOnError: 0 }),
    };
  });
  hand.run();
  for (const { path, at, result } of found) {
    const errno = -hand.result(result);
    const mode = errno > 0 ? 0 : parseStat(arena.bytes, at).mode;
    const runnable = (mode & 0o170000) !== 0o040000 && (mode & 0o111) !== 0;
    if (runnable) return path;
    if (!program.includes("/")) continue;
    if (errno > 0)
      throw new StartError(`exec: ${JSON.stringify(program)}: stat ${program}: ${errnoText(errno)}`);
    const why = (mode & 0o170000) === 0o040000 ? "is a directory" : "permission denied";
    throw new StartError(`exec: ${JSON.stringify(program)}: ${why}`);
  }
  throw new StartError(`exec: ${JSON.stringify(program)}: executable file not found in $PATH`);
}

/** The environment with HOME, from the container's /etc/passwd when it isn't given. */
export function completeEnvironment(rooted: Rooted, process: Process): string[] {
  const env = process.env ?? [];
  if (environmentValue(env, "HOME")) return [...env];
  const { hand } = rooted;
  const { arena } = hand.calls;
  const size = 65536;
  const at = arena.room(size);
  const file = rooted.open("/etc/passwd", { flags: 0o4000, skipOnError: 2 });
  const length = hand.call("read", [file, arena.base + at, size], { skipOnError: 0 });
  rooted.close(file);
  hand.run();
  const bytes = hand.result(file) < 0 ? 0 : Math.max(0, hand.result(length));
  const home = homeOf(arena.bytes.toString("utf8", at, at + bytes), process.user?.uid ?? 0);
  return [...env.filter((entry) => !entry.startsWith("HOME=")), `HOME=${home}`];
}

/** The home directory of a user in the words of passwd(5); `/` for an unknown one. */
export function homeOf(passwd: string, uid: number): string {
  for (const line of passwd.split("\n")) {
    const [, , id, , , home] = line.split(":");
    if (id === String(uid) && home) return home;
  }
  return "/";
}

/** Queue: limits of the process. Bun raises the number of open files for itself; its caller's is put back. */
export function setLimits(hand: Hand, { rlimits = [] }: Process, callerPid: number): void {
  const { arena } = hand.calls;
  const set = (resource: number, soft: bigint, hard: bigint, about: string) => {
    const at = arena.room(16);
    arena.bytes.writeBigUInt64LE(soft, at);
    arena.bytes.writeBigUInt64LE(hard, at + 8);
    hand.call("prlimit64", [0, resource, arena.base + at, 0], { about });
  };
  const seen = new Set<string>();
  for (const { type, soft, hard } of rlimits) {
    const resource = RLIMITS[type];
    if (resource === undefined) throw new EngineError("invalid_argument", `invalid rlimit type ${type}`);
    if (seen.has(type)) throw new EngineError("invalid_argument", `rlimit ${type} is set twice`);
    seen.add(type);
    set(resource, limitBits(soft), limitBits(hard), `error setting rlimit type ${resource}`);
  }
  if (!seen.has("RLIMIT_NOFILE")) {
    const { soft, hard } = prlimit(callerPid, 7);
    set(7, soft, hard, "RLIMIT_NOFILE");
  }
}

/** A limit as JSON has it, where 2^64 − 1 has lost its last digits. */
export function limitBits(value: number): bigint {
  const bits = BigInt(value);
  const max = 0xffffffffffffffffn;
  return bits > max ? max : bits;
}

/** Descriptors of the standard streams belong to the user, so that /proc/self/fd/1 can be opened again. */
function ownStreams(hand: Hand, uid: number): void {
  for (const fd of [0, 1, 2]) {
    if (!isOpen(fd)) continue;
    const { uid: owner, rdev, mode } = stat("", 0x1000, fd);
    const isNull = (mode & 0o170000) === 0o020000 && rdev === 0x103;
    if (owner === uid || isNull) continue;
    hand.call("fchown", [fd, uid, -1], { skipOnError: 0 });
  }
}

let lastCapability: number | undefined;

function kernelLastCapability(): number {
  lastCapability ??= Math.min(Number(readText("/proc/sys/kernel/cap_last_cap")), CAPABILITIES.length - 1);
  return lastCapability;
}

/** Where calls go: to the child, or into a program that makes them later. */
interface Sink {
  add: CallTable["add"];
  arena: CallTable["arena"];
}

/** Queue: user, groups and capabilities, in the order in which each step still has the right to the next. */
function setCredentials(sink: Sink, process: Process): void {
  const { user = {}, capabilities = {} } = process;
  const { uid = 0, gid = 0, additionalGids = [], umask = 0o22 } = user;
  const last = kernelLastCapability();
  const bits = (names: string[] | undefined) => capabilityBits(names, last);
  const bounding = bits(capabilities.bounding);
  for (let number = 0; number <= last; number++) {
    if ((bounding & (1n << BigInt(number))) === 0n) {
      sink.add("prctl", [PR_CAPBSET_DROP, number, 0, 0, 0], { about: "unable to apply bounding set" });
    }
  }
  sink.add("prctl", [PR_SET_KEEPCAPS, 1, 0, 0, 0], { about: "unable to set keep caps" });
  const groups = sink.arena.room(4 * Math.max(1, additionalGids.length));
  for (const [index, group] of additionalGids.entries())
    sink.arena.bytes.writeUInt32LE(group, groups + 4 * index);
  sink.add("setgroups", [additionalGids.length, sink.arena.base + groups], { about: "unable to setup user" });
  sink.add("setresgid", [gid, gid, gid], { about: "unable to setup user" });
  sink.add("setresuid", [uid, uid, uid], { about: "unable to setup user" });
  sink.add("prctl", [PR_SET_KEEPCAPS, 0, 0, 0, 0], { about: "unable to clear keep caps" });
  const header = sink.arena.room(8);
  sink.arena.bytes.writeUInt32LE(0x20080522, header);
  const data = sink.arena.room(24);
  const sets = [capabilities.effective, capabilities.permitted, capabilities.inheritable].map(bits);
  for (const [index, set] of sets.entries()) {
    sink.arena.bytes.writeUInt32LE(Number(set & 0xffffffffn), data + 4 * index);
    sink.arena.bytes.writeUInt32LE(Number(set >> 32n), data + 12 + 4 * index);
  }
  sink.add("capset", [sink.arena.base + header, sink.arena.base + data], { about: "unable to apply caps" });
  sink.add("prctl", [PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0], { skipOnError: 0 });
  const ambient = bits(capabilities.ambient);
  for (let number = 0; number <= last; number++) {
    if ((ambient & (1n << BigInt(number))) === 0n) continue;
    // The kernel refuses what isn't permitted and inheritable; the original warns and goes on.
    sink.add("prctl", [PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0], { skipOnError: 0 });
  }
  sink.add("umask", [umask]);
}

/** Queue: the filter of system calls. */
function loadFilter(sink: Sink, filter: Buffer, flags: number): void {
  const program = sink.arena.copy(filter);
  const header = sink.arena.room(16);
  sink.arena.bytes.writeUInt16LE(filter.length / 8, header);
  sink.arena.bytes.writeBigUInt64LE(BigInt(program), header + 8);
  sink.add("seccomp", [1, flags, sink.arena.base + header], { about: "unable to init seccomp" });
}

/** Queue: signals that are ignored in us are as a new program expects them, none is blocked. (Handlers end with execve anyway.) */
function resetSignals(sink: Sink): void {
  const standard = sink.arena.base + sink.arena.room(32);
  for (const signal of ignoredSignals())
    sink.add("rt_sigaction", [signal, standard, 0, 8], { skipOnError: 0 });
  sink.add("rt_sigprocmask", [2, sink.arena.base + sink.arena.room(8), 0, 8]);
}

/** Queue: a session keyring of the container's own; kernels without keys go without. */
function joinKeyring(hand: Hand, id: string): void {
  const ring = hand.call("keyctl", [1, hand.text(`_ses.${id}`)], { skipOnError: 1 });
  hand.call("keyctl", [5, ring, 0x3f1b0000 >>> 0], { skipOnError: 0 });
}

/**
 * The last steps of a process, after which the child is no longer ours to command: everything that lowers its rights, then it
 * becomes a small program which waits for `start` (init processes), and becomes the user's.
 *
 * @param path of the program, found by {@link findProgram}
 */
export function becomeProcess(hand: Hand, rooted: Rooted, plan: ProcessPlan, path: string): void {
  const { process, seccomp, fifoFd, preserveFds } = plan;
  const args = argsOf(process);
  const env = completeEnvironment(rooted, process);
  const filter = seccomp === undefined ? undefined : compileFilter(seccomp, plan.cacheDirectory);
  const noNewPrivileges = process.noNewPrivileges === true;

  const strings = [path, ...args, ...env].reduce((sum, text) => sum + Buffer.byteLength(text) + 9, 8192);
  const table = programTable(100, strings + path.length * 4 + (filter?.program.length ?? 0) * 2);
  const { arena } = table;
  resetSignals(table);
  if (fifoFd !== undefined) {
    const byte = arena.room(1);
    table.add("read", [fifoFd, arena.base + byte, 1]);
    table.add("close", [fifoFd]);
  }
  if (filter && noNewPrivileges) loadFilter(table, filter.program, filter.flags);
  table.add("execve", [arena.string(path), arena.vector(args), arena.vector(env)], { skipOnError: 0 });
  const complaint = `exec ${path}: exec format error\n`;
  table.add("write", [2, arena.string(complaint), Buffer.byteLength(complaint)], { skipOnError: 0 });
  table.add("exit_group", [255]);
  // Before the descriptors are no longer shared, else the child doesn't have it.
  const file = programFile(table);
  if (plan.terminal) useTerminal(hand, plan.terminal);

  const sink: Sink = {
    add: (name, callArgs, options) => hand.call(name, callArgs, options),
    arena: hand.calls.arena,
  };
  if (!plan.noNewKeyring) joinKeyring(hand, plan.id);
  ownStreams(hand, process.user?.uid ?? 0);
  hand.call("close_range", [3 + preserveFds, 0xffffffff, 4], { about: "close-on-exec" });
  // The engine marks whatever it is started with.
  for (let fd = 3; fd < 3 + preserveFds; fd++) hand.call("fcntl", [fd, 2, 0]);
  if (fifoFd !== undefined) hand.call("fcntl", [fifoFd, 2, 0]);
  if (noNewPrivileges) hand.call("prctl", [PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0]);
  if (filter && !noNewPrivileges) loadFilter(sink, filter.program, filter.flags);
  setCredentials(sink, process);
  hand.call("prctl", [PR_SET_PDEATHSIG, 0]);
  callProgram(hand, file, ["runc", "init"]);
  hand.runToExec();
}

/** Queue: a terminal of the container's own devpts, as the streams of the process; its master, for the console socket. */
export function openTerminal(rooted: Rooted, process: Process): { master: Slot; peer: Slot } {
  const { hand } = rooted;
  const { arena } = hand.calls;
  const unlock = arena.base + arena.room(4);
  const master = rooted.open("/dev/ptmx", { flags: O_RDWR | O_NOCTTY });
  hand.call("ioctl", [master, 0x40045431, unlock], { about: "/dev/ptmx" });
  const peer = hand.call("ioctl", [master, 0x5441, O_RDWR | O_NOCTTY | 0o2000000], { about: "/dev/ptmx" });
  const { height = 0, width = 0 } = process.consoleSize ?? {};
  if (height > 0 && width > 0) {
    const size = arena.room(8);
    arena.bytes.writeUInt16LE(height, size);
    arena.bytes.writeUInt16LE(width, size + 2);
    hand.call("ioctl", [master, 0x5414, arena.base + size], { about: "consoleSize" });
  }
  hand.call("fchown", [peer, process.user?.uid ?? 0, process.user?.gid ?? 0], { skipOnError: 0 });
  return { master, peer };
}

/** Queue: the terminal becomes the controlling one and the three streams. The descriptors are no longer shared with us then. */
function useTerminal(hand: Hand, peer: Slot): void {
  hand.call("unshare", [0x400]);
  for (const fd of [0, 1, 2]) hand.call("dup3", [peer, fd, 0], { about: "terminal" });
  hand.call("ioctl", [0, 0x540e, 0], { about: "controlling terminal" });
}
