import { now, type Timestamp } from "@longshore/events/publisher";
import { isOwnChild, P_ALL, P_PID, WEXITED, WNOHANG, WNOWAIT, waitId, waitPid } from "@longshore/syscalls";

/** How a process ended. */
export interface ProcessEnd {
  pid: number;
  /** 0–255; 128 + n when signal n ended it. */
  status: number;
  at: Timestamp;
}

type Listener = (end: ProcessEnd) => void;

/** Container processes that somebody waits for. */
const listeners = new Map<number, Listener>();
/** What Bun started and will reap itself: taking it away would make Bun's own wait fail. */
const bunChildren = new Set<number>();
/** Who ended before its pid was known to us, kept while a runtime is at work. */
const early = new Map<number, ProcessEnd>();
let runtimes = 0;

/** Become the reaper of all descendants (after PR_SET_CHILD_SUBREAPER). */
export function installReaper(): void {
  process.on("SIGCHLD", reap);
}

/** Whether nothing runs but containers' processes. */
export function onlyContainersRun(): boolean {
  return runtimes === 0 && bunChildren.size === 0;
}

/**
 * Whether a process is a child of ours, also one that has ended within {@link whileStarting}. A number that isn't may belong to
 * any process of the host.
 */
export function isOurs(pid: number): boolean {
  return early.has(pid) || isOwnChild(pid);
}

/** Call `listener` once when the process ends, which may have been before this call, if it was within `whileRunning`. */
export function onEnd(pid: number, listener: Listener): void {
  const end = early.get(pid);
  early.delete(pid);
  if (end) listener(end);
  else listeners.set(pid, listener);
}

/** Run something that makes processes whose pids are learnt afterwards: their ends are kept for `onEnd`. */
export async function whileStarting<T>(work: () => Promise<T>): Promise<T> {
  runtimes++;
  try {
    return await work();
  } finally {
    runtimes--;
    if (runtimes === 0) early.clear();
  }
}

/** The exit status of a child that Bun started. */
export async function spawned(child: Bun.Subprocess): Promise<number> {
  bunChildren.add(child.pid);
  try {
    return await child.exited;
  } finally {
    bunChildren.delete(child.pid);
    // Signals coalesce, and the reaper stops at a child of Bun's.
    reap();
  }
}

/** Take away whoever has ended. */
export function reap(): void {
  // Those that are waited for first, past any that Bun has yet to reap.
  for (const pid of listeners.keys()) {
    if (waitId(P_PID, pid, WEXITED | WNOHANG | WNOWAIT) === pid) take(pid);
  }
  for (let pid = next(); pid !== undefined; pid = next()) {
    if (bunChildren.has(pid)) {
      // Once Bun has, spawned() comes back here.
      return;
    }
    take(pid);
  }
}

function next(): number | undefined {
  try {
    return waitId(P_ALL, 0, WEXITED | WNOHANG | WNOWAIT);
  } catch {
    return undefined; // ECHILD: no children at all
  }
}

function take(pid: number): void {
  const exit = waitPid(pid, WNOHANG);
  if (!exit) return;
  const end = { pid, status: exit.status, at: now() };
  const listener = listeners.get(pid);
  listeners.delete(pid);
  if (listener) listener(end);
  else if (runtimes > 0) early.set(pid, end);
}
