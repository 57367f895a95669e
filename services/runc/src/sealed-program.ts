import { type CallTable, errnoText, ignoredSignals, programTable, type Slot } from "@longshore/syscalls";
import type { Sink } from "./credentials.ts";

export interface SealedPlan {
  path: string;
  args: readonly string[];
  env: readonly string[];
  /** Read by an init process before it goes on, which `start` writes to. */
  fifoFd: number | undefined;
  /** Loaded as the last thing before the user's program, which needs no privileges with no_new_privs. */
  filter: { program: Buffer; flags: number } | undefined;
  /** Whether the filter is loaded before the wait, so that its listener can be passed on meanwhile. */
  filterFirst: boolean;
  /** A procfs, and what the program writes into its own attributes there. */
  labels: { procFd: number; values: readonly Label[] } | undefined;
}

export interface Label {
  /** Below `attr/`. */
  file: string;
  value: string;
}

/** Ways in which execve(2) fails. */
const ERRNOS = [2, 13, 8, 1, 5, 7, 12, 20, 21, 22, 24, 26, 36, 40, 80] as const;

/** The program that a container's process is between `create` and `start`: calls that end with the user's program. */
export function sealedProgram(plan: SealedPlan): CallTable {
  const { path, args, env, filter, fifoFd, labels } = plan;
  const strings = [path, ...args, ...env].reduce((sum, text) => sum + Buffer.byteLength(text) + 9, 8192);
  const complaints = ERRNOS.length * (Buffer.byteLength(path) + 64);
  const table = programTable(120, strings + complaints + (filter?.program.length ?? 0) * 2);
  const { arena } = table;
  resetSignals(table);
  if (labels) setLabels(table, labels);
  if (filter && plan.filterFirst) loadFilter(table, filter.program, filter.flags);
  if (fifoFd !== undefined) {
    const byte = arena.room(1);
    table.add("read", [fifoFd, arena.base + byte, 1]);
    table.add("close", [fifoFd]);
  }
  if (filter && !plan.filterFirst) loadFilter(table, filter.program, filter.flags);
  const result = table.add("execve", [arena.string(path), arena.vector(args), arena.vector(env)], {
    skipOnError: 0,
  });
  complain(table, path, result);
  table.add("exit_group", [255]);
  return table;
}

const FUTEX_CMP_REQUEUE = 4;

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
    const fd = table.add("openat2", [procFd, arena.string(`thread-self/attr/${file}`), arena.base + how, 24]);
    table.add("write", [fd, arena.string(value), Buffer.byteLength(value)]);
    table.add("close", [fd]);
  }
  table.add("close", [procFd]);
}

/** Queue: the filter of system calls; the result is the listener, if one was asked for. */
export function loadFilter(sink: Sink, filter: Buffer, flags: number): Slot {
  const program = sink.arena.copy(filter);
  const header = sink.arena.room(16);
  sink.arena.bytes.writeUInt16LE(filter.length / 8, header);
  sink.arena.put64(header + 8, program);
  return sink.add("seccomp", [1, flags, sink.arena.base + header], { about: "unable to init seccomp" });
}

/** Queue: signals that are ignored in us are as a new program expects them, none is blocked. (Handlers end with execve anyway.) */
export function resetSignals(sink: Sink): void {
  const standard = sink.arena.base + sink.arena.room(32);
  for (const signal of ignoredSignals())
    sink.add("rt_sigaction", [signal, standard, 0, 8], { skipOnError: 0 });
  sink.add("rt_sigprocmask", [2, sink.arena.base + sink.arena.room(8), 0, 8]);
}
