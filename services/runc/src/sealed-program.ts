import {
  type CallOptions,
  type CallTable,
  CLONE_NEWTIME,
  EACCES,
  ENOENT,
  EPERM,
  ESRCH,
  errnoText,
  ignoredSignals,
  ownChildren,
  PR_SET_DUMPABLE,
  programTable,
  type Slot,
  TIOCSCTTY,
  waitPid,
} from "@longshore/syscalls";
import type { Sink } from "./credentials.ts";
import { StartError } from "./start-error.ts";

export interface SealedPlan {
  path: string;
  args: readonly string[];
  env: readonly string[];
  /** Read before it goes on: by an init process what `start` writes. */
  waitFd: number | undefined;
  filter: { program: Buffer; flags: number } | undefined;
  /** Whether the filter is loaded before the wait, so that its listener can be passed on meanwhile; otherwise as late as possible. */
  filterFirst: boolean;
  /** A procfs, and what the program writes into its own attributes there. */
  labels: { procFd: number; values: readonly Label[] } | undefined;
  /**
   * Files of cgroups that it joins: where memory is counted, for what comes before it shares all our memory, with which we would be
   * killed when the group has none left.
   */
  groupFds: readonly number[];
  /** A time namespace to enter. */
  timeFd: number | undefined;
  /** Given when the program has a right too many, which goes as soon as it is no longer needed. */
  dropRights: ((sink: Sink, options: CallOptions) => void) | undefined;
  /**
   * Set for a process in a pid namespace that other processes are in already: only a child of the program is a member of it.
   * Until the fork no process there can see one that shares memory or descriptors with the runtime (CVE-2019-5736).
   */
  fork: { terminal: boolean } | undefined;
}

export interface Label {
  /** Below `attr/`. */
  file: string;
  value: string;
}

const EIO = 5;
const E2BIG = 7;
const ENOEXEC = 8;
const ENOMEM = 12;
const ETXTBSY = 26;
const ELIBBAD = 80;

/** Ways in which execve(2) fails that are told apart. */
const ERRNOS = [ENOENT, EACCES, ENOEXEC, EPERM, E2BIG, ENOMEM, ETXTBSY, EIO, ELIBBAD] as const;

/** The program that a container's process is between `create` and `start`: calls that end with the user's program. */
export function sealedProgram(plan: SealedPlan): CallTable {
  const { path, args, env, filter, waitFd, filterFirst } = plan;
  const strings = [path, ...args, ...env].reduce((sum, text) => sum + Buffer.byteLength(text) + 9, 8192);
  const complaints = ERRNOS.length * (Buffer.byteLength(path) + 64);
  const table = programTable(128, strings + complaints + (filter?.program.length ?? 0) * 2);
  const { arena } = table;
  const sink: Sink = { add: (name, words, options) => table.add(name, words, options), arena };
  // Nobody without CAP_SYS_PTRACE looks into the process, its child included, before it has become the user's program.
  table.add("prctl", [PR_SET_DUMPABLE, 0, 0, 0, 0], { skipOnError: 0 });
  resetSignals(sink);
  for (const fd of plan.groupFds) {
    table.add("write", [fd, arena.string("0"), 1], HANDLED);
    giveUp(table, "error adding pid to cgroups");
    table.add("close", [fd]);
  }
  if (plan.timeFd !== undefined) {
    table.add("setns", [plan.timeFd, CLONE_NEWTIME], HANDLED);
    giveUp(table, "setns: time namespace");
    table.add("close", [plan.timeFd]);
  }
  // The kernel copies the labels for the next program to a child, which then needs no procfs of the host.
  if (plan.labels) setLabels(table, plan.labels);
  if (plan.fork) forkInto(table, plan.fork);
  const load = () => {
    if (!filter) return;
    loadFilter(sink, filter.program, filter.flags, HANDLED);
    giveUp(table, "unable to init seccomp");
  };
  const early = filterFirst || plan.dropRights !== undefined;
  if (early) load();
  if (plan.dropRights) {
    plan.dropRights(sink, HANDLED);
    giveUp(table, "unable to apply caps");
  }
  if (waitFd !== undefined) {
    const byte = arena.room(1);
    table.add("read", [waitFd, arena.base + byte, 1]);
    table.add("close", [waitFd]);
  }
  if (!early) load();
  const result = table.add("execve", [arena.string(path), arena.vector(args), arena.vector(env)], {
    skipOnError: 0,
  });
  complain(table, path, result);
  table.add("exit_group", [255]);
  return table;
}

/** Options of a call that is followed by {@link giveUp}. */
const HANDLED = { skipOnError: 0, skipOnOk: 2 } as const;

/** Queue: say why it goes no further. */
function giveUp(table: CallTable, words: string): void {
  const line = `error during container init: ${words}\n`;
  table.add("write", [2, table.arena.string(line), Buffer.byteLength(line)], { skipOnError: 0 });
  table.add("exit_group", [255]);
}

const CLONE_PARENT_SIGCHLD = 0x8000 + 17;

/**
 * Queue: fork into the pid namespace that was chosen for children, and continue in the child. Its parent is the maker of this
 * process (CLONE_PARENT), which learns its pid by {@link childOf}. There is no descriptor to report it on: the child would have a
 * copy of that descriptor, and whoever sees the child could write another process's number to it.
 */
export function forkInto(table: CallTable, { terminal }: NonNullable<SealedPlan["fork"]>): void {
  const { arena } = table;
  const word = arena.base + arena.room(4);
  // Not clone3: containers' usual filters refuse it.
  const child = table.add("clone", [CLONE_PARENT_SIGCHLD, 0, 0, 0, 0], { skipOnError: 1 });
  // Only the child finds 0 in the word that is compared.
  table.add("futex", [child.address, FUTEX_CMP_REQUEUE, 0, 0, word, 0], { skipOnError: 1, skipOnOk: 2 });
  table.add("exit_group", [child]); // the fork has failed: the low byte of minus the errno
  table.add("exit_group", [0]);
  table.add("setsid", []);
  if (terminal) table.add("ioctl", [0, TIOCSCTTY, 0]);
}

const FUTEX_CMP_REQUEUE = 4;

/** Exit statuses of a program whose fork has failed are 256 minus the errno; no errno is greater. */
const MAX_ERRNO = 133;

/**
 * Return the pid of the child that a program has forked by {@link forkInto}, and reap the program.
 *
 * The kernel's list of our own children tells the pid, so no process in the container can give a false one. A child that has
 * ended meanwhile is in the list until it is reaped.
 *
 * @param known our children before the program started, which include the program
 * @throws StartError when the program has made no child
 */
export function childOf(parent: number, known: readonly number[]): number {
  const status = waitPid(parent)?.status ?? 0;
  if (status !== 0) {
    const errno = 256 - status;
    throw new StartError(`fork: ${errno <= MAX_ERRNO ? errnoText(errno) : `status ${status}`}`);
  }
  const [pid, ...more] = ownChildren().filter((child) => !known.includes(child));
  if (pid === undefined || more.length > 0) throw new StartError(`fork: ${errnoText(ESRCH)}`);
  return pid;
}

/**
 * Queue: say why the program could not be executed. The calls know no branches but on failure, so each possible error is compared by
 * a call that fails unless a word of memory has a certain value.
 */
function complain(table: CallTable, path: string, result: Slot): void {
  const { arena } = table;
  const word = arena.base + arena.room(4);
  const write = (text: string, skipOnOk: number) => {
    const line = `exec ${path}: ${text}\n`;
    table.add("write", [2, arena.string(line), Buffer.byteLength(line)], { skipOnError: skipOnOk, skipOnOk });
  };
  for (const [index, errno] of ERRNOS.entries()) {
    const compared = -errno >>> 0;
    table.add("futex", [result.address, FUTEX_CMP_REQUEUE, 0, 0, word, compared], { skipOnError: 1 });
    write(errnoText(errno), 2 * (ERRNOS.length - index - 1) + 1);
  }
  write("unable to start", 0);
}

/** Queue: the labels that the next program gets. */
function setLabels(table: CallTable, { procFd, values }: NonNullable<SealedPlan["labels"]>): void {
  const { arena } = table;
  for (const { file, value } of values) {
    const how = arena.room(24);
    arena.put64(how, 0o2000001); // O_WRONLY, O_CLOEXEC
    arena.put64(how + 16, 0x0b); // NO_XDEV, NO_MAGICLINKS, BENEATH
    const path = arena.string(`thread-self/attr/${file}`);
    const fd = table.add("openat2", [procFd, path, arena.base + how, 24], HANDLED);
    giveUp(table, `unable to apply label: ${file}`);
    table.add("write", [fd, arena.string(value), Buffer.byteLength(value)], HANDLED);
    giveUp(table, `unable to apply label: ${value}`);
    table.add("close", [fd]);
  }
  table.add("close", [procFd]);
}

/** Queue: the filter of system calls; the result is the listener, if one was asked for. */
export function loadFilter(
  sink: Sink,
  filter: Buffer,
  flags: number,
  options: CallOptions = { about: "unable to init seccomp" },
): Slot {
  const program = sink.arena.copy(filter);
  const header = sink.arena.room(16);
  sink.arena.bytes.writeUInt16LE(filter.length / 8, header);
  sink.arena.put64(header + 8, program);
  return sink.add("seccomp", [1, flags, sink.arena.base + header], options);
}

/** Queue: signals that are ignored in us are as a new program expects them, none is blocked. (Handlers end with execve anyway.) */
export function resetSignals(sink: Sink): void {
  const standard = sink.arena.base + sink.arena.room(32);
  for (const signal of ignoredSignals())
    sink.add("rt_sigaction", [signal, standard, 0, 8], { skipOnError: 0 });
  sink.add("rt_sigprocmask", [2, sink.arena.base + sink.arena.room(8), 0, 8]);
}
