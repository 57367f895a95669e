import {
  AT_EMPTY_PATH,
  becomeProgram,
  close,
  F_SETFD,
  FD_CLOEXEC,
  fcntl,
  memfdCreate,
  O_PATH,
  openFile,
  P_ALL,
  poll,
  programFile,
  programTable,
  signalFd,
  WEXITED,
  WNOHANG,
  WNOWAIT,
  writeAll,
} from "@longshore/syscalls";
import {
  descriptorsOf,
  SIGNALS,
  SLEEPER_NAME,
  type SleepDescriptors,
  type SleepState,
} from "./sleep-state.ts";

const POLLIN = 1;
const RETRY_SECONDS = 1;
const SIGINFO_BYTES = 128;
const SI_PID = 12;
const FUTEX_CMP_REQUEUE = 4;

/**
 * Sleep: become a program of a few kilobytes that waits until one of our descriptors has something, or a signal comes, and then becomes
 * this one again (`wake.ts`). It is the same process all the time: parent of the container, listening at the same socket, holding the same pipes.
 * `SIGNALS` are blocked.
 *
 * @returns when there is something to do right now
 * @throws Errno when it can't be done; all is as before
 */
export function sleep(state: SleepState): void {
  const { watched, held } = descriptorsOf(state);
  const opened: number[] = [];
  const keep = (fd: number) => {
    opened.push(fd);
    return fd;
  };
  try {
    const signals = keep(signalFd([SIGNALS.SIGINT, SIGNALS.SIGTERM, SIGNALS.SIGCHLD]));
    const executable = keep(openFile("/proc/self/exe", O_PATH));
    const memory = keep(memfdCreate("shim", 0));
    writeAll(
      memory,
      JSON.stringify({ ...state, executable, signals } satisfies SleepState & SleepDescriptors),
    );
    const program = keep(programFile(waitingProgram(state, [...watched, signals], { executable, memory })));
    if (
      poll(
        [...watched, signals].map((fd) => ({ fd, events: POLLIN })),
        0,
      ).some(hasSomething)
    )
      return;
    for (const fd of [...watched, ...held]) fcntl(fd, F_SETFD, 0);
    becomeProgram(program, state.commandLine);
  } finally {
    for (const fd of [...watched, ...held]) fcntl(fd, F_SETFD, FD_CLOEXEC);
    for (const fd of opened) close(fd);
  }
}

function hasSomething({ readable, ended }: { readable: boolean; ended: boolean }): boolean {
  return readable || ended;
}

/** Should there be no room for us just now, it tries again. */
function waitingProgram(
  { bundle, commandLine, environment }: SleepState,
  watched: readonly number[],
  { executable, memory }: { executable: number; memory: number },
) {
  const argv = [commandLine[0] ?? SLEEPER_NAME, "wake", String(memory), roomFor(commandLine)];
  const env = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  const bytes = [bundle, ...argv, ...env].reduce(
    (sum, text) => sum + 3 * text.length + 9,
    4096 + 8 * watched.length,
  );
  const table = programTable(8, bytes, SLEEPER_NAME);
  const { arena } = table;
  const set = arena.room(8 * watched.length);
  for (const [index, fd] of watched.entries()) {
    arena.bytes.writeInt32LE(fd, set + 8 * index);
    arena.bytes.writeInt16LE(POLLIN, set + 8 * index + 4);
  }
  const pause = arena.room(16);
  arena.put64(pause, RETRY_SECONDS);
  // Another thread may have taken the signal of a child that ended just now.
  const ended = arena.base + arena.room(SIGINFO_BYTES);
  table.add("waitid", [P_ALL, 0, ended, WEXITED | WNOHANG | WNOWAIT, 0], { skipOnError: 0 });
  // Fails unless the word is 0: the number of a child, if there is one.
  const nobody = [ended + SI_PID, FUTEX_CMP_REQUEUE, 0, 0, arena.base + arena.room(4), 0];
  table.add("futex", nobody, { skipOnError: 1 });
  table.add("poll", [arena.base + set, watched.length, 0xffffffff], { skipOnError: 0 });
  // We don't start in a directory that was removed.
  table.add("chdir", [arena.string(bundle)], { skipOnError: 0, skipOnOk: 1 });
  table.add("chdir", [arena.string("/")], { skipOnError: 0 });
  const args = [executable, arena.string(""), arena.vector(argv), arena.vector(env), AT_EMPTY_PATH];
  table.add("execveat", args, { skipOnError: 0 });
  const again = { skipOnError: -2, skipOnOk: -2 };
  table.add("nanosleep", [arena.base + pause, 0], again);
  return table;
}

/** For the whole command line, which it takes back when it is awake. */
function roomFor(commandLine: readonly string[]): string {
  return " ".repeat(commandLine.join(" ").length);
}
