import {
  type CallOptions,
  type CallTable,
  CLONE_NEWTIME,
  close,
  EACCES,
  ENOENT,
  EPERM,
  ESRCH,
  errnoText,
  fixedBuffer,
  ignoredSignals,
  programTable,
  read,
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
   * For a process in a pid namespace that others are in already: only a child of the program is in it. Until then nobody there can
   * see a process which shares memory and descriptors with us (CVE-2019-5736), nor one that has not lowered its rights.
   */
  fork: { reportFd: number; terminal: boolean } | undefined;
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
  if (plan.fork) forkInto(table, plan.fork);
  if (plan.labels) setLabels(table, plan.labels);
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
 * Queue: go on as a child, whose parent is the maker of this process, in the pid namespace that was chosen for children. Its number,
 * or what kept it from being, goes to the maker. The child alone finds 0 in the word that is compared.
 */
export function forkInto(table: CallTable, { reportFd, terminal }: NonNullable<SealedPlan["fork"]>): void {
  const { arena } = table;
  const word = arena.base + arena.room(4);
  // Not clone3: containers' usual filters refuse it.
  const child = table.add("clone", [CLONE_PARENT_SIGCHLD, 0, 0, 0, 0], { skipOnError: 0 });
  table.add("futex", [child.address, FUTEX_CMP_REQUEUE, 0, 0, word, 0], { skipOnError: 0, skipOnOk: 2 });
  table.add("write", [reportFd, child.address, 8], { skipOnError: 0 });
  table.add("exit_group", [0]);
  table.add("close", [reportFd]);
  table.add("setsid", []);
  if (terminal) table.add("ioctl", [0, TIOCSCTTY, 0]);
}

const FUTEX_CMP_REQUEUE = 4;

/** The number of the child that a program has made, which then ends. */
export function childOf(parent: number, [readEnd, writeEnd]: [number, number]): number {
  close(writeEnd);
  const answer = fixedBuffer(8);
  const length = read(readEnd, answer);
  close(readEnd);
  waitPid(parent);
  const pid = length === 8 ? Number(answer.readBigInt64LE()) : -ESRCH;
  if (pid < 0) throw new StartError(`fork: ${errnoText(-pid)}`);
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
