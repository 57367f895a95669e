import type { SuspendedServer } from "@longshore/ttrpc";
import type { Flags } from "./flags.ts";
import type { SuspendedTask } from "./task.ts";

/** Everything that a shim is, while it sleeps (`sleep.ts`). Plain data. */
export interface SleepState {
  flags: Flags;
  /** The working directory. */
  bundle: string;
  /** As it was started with, and what it was told later. */
  environment: Record<string, string>;
  /** What `ps` shows. */
  commandLine: string[];
  server: SuspendedServer;
  tasks: readonly SuspendedTask[];
  /** How long nothing had to happen for it. */
  quietMs: number;
  /** When it fell asleep, in ms since the epoch. */
  since: number;
}

/** Descriptors that are there all the time. */
export interface SleepDescriptors {
  /** Our executable, to wake up with: who replaces the file replaces it for shims to come. */
  executable: number;
  /** A signalfd. */
  signals: number;
}

/** Those that may have something to read, and those that must only stay open. */
export function descriptorsOf({ server, tasks }: Pick<SleepState, "server" | "tasks">): {
  watched: number[];
  held: number[];
} {
  const watched = [server.listener, ...server.sessions.map(({ fd }) => fd)];
  const held: number[] = [];
  for (const { oom, processes } of tasks) {
    if (oom.watch) {
      watched.push(oom.watch.open.fd);
      if (oom.watch.open.control !== undefined) held.push(oom.watch.open.control);
    }
    for (const { io } of processes) {
      watched.push(...io.outputs);
      if (io.attach !== undefined) watched.push(io.attach);
      if (io.log) held.push(io.log.fd);
      if (io.stdin !== undefined && !io.outputs.includes(io.stdin)) held.push(io.stdin);
    }
  }
  return { watched, held };
}

/** Its name, as the kernel cuts it. */
export const SLEEPER_NAME = "containerd-shim";

/** Who sleeps hears these too. */
export const SIGNALS = { SIGINT: 2, SIGTERM: 15, SIGCHLD: 17, SIGIO: 29 } as const;

/** How long nothing must have happened before a shim sleeps, unless the environment says otherwise. */
export const QUIET_MS = 15_000;
/** One that was woken so soon stays awake twice as long the next time. */
const SHORT_SLEEP_MS = 60_000;
const LONGEST_QUIET_MS = 600_000;

/** How long nothing must happen after a sleep. */
export function quietAfter(
  { quietMs, since }: Pick<SleepState, "quietMs" | "since">,
  base: number,
  now: number,
): number {
  return now - since < SHORT_SLEEP_MS ? Math.min(quietMs * 2, LONGEST_QUIET_MS) : base;
}
