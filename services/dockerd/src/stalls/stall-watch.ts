import type { Logger } from "@longshore/log";
import { OwnThreadTimes, type ThreadTimes } from "./thread-times.ts";

/**
 * What held up the event loop: JavaScript and garbage collection, a system call, or other processes
 * that had the processors.
 */
export type StallCause = "computing" | "waiting" | "starved";
export const STALL_CAUSES: readonly StallCause[] = ["computing", "waiting", "starved"];

/** How late a tick may be. A tick lies up to its interval after a stall's start. */
const STALL_MS = 75;
const TICK_MS = 25;
/** While there is nothing to do. */
const IDLE_TICK_MS = 1000;
/** How long after its last work the daemon counts as idle. */
const IDLE_AFTER_MS = 1000;
/** A share of the processor that shows work nobody has told of. */
const BUSY_SHARE = 0.1;
/** How many operations a message names, and how much of each. */
const MOST_NAMED = 8;
const MOST_CHARS = 200;
/** Messages come at most this often; stalls in between are counted. */
const MESSAGE_INTERVAL_MS = 1000;

type Describe = () => string;

/** Where the watch tells of stalls. */
export interface StallListener {
  log: Logger;
  onStall(cause: StallCause, seconds: number): void;
}

/**
 * Notices that the event loop has stood still for more than 100 ms, and says what the daemon was doing.
 *
 * A timer that comes late shows it. It runs often only while there is work, so an idle daemon sleeps.
 */
export class StallWatch implements Disposable {
  private readonly listener: StallListener;
  private readonly times: OwnThreadTimes;
  private readonly running = new Set<Describe>();
  /** Ended since the last tick. */
  private ended: Describe[] = [];
  private timer: NodeJS.Timeout | undefined;
  private dueAt = 0;
  private busyUntil = 0;
  private isFast = false;
  /** Something began or ended since the last tick. */
  private isBusy = false;
  private last: { at: number; times: ThreadTimes | undefined };
  private messageAt = Number.NEGATIVE_INFINITY;
  private untold = 0;

  constructor(listener: StallListener, times = new OwnThreadTimes()) {
    this.listener = listener;
    this.times = times;
    this.last = { at: performance.now(), times: this.times.read() };
    this.schedule(this.last.at);
  }

  /** An operation begins. @param describe asked only if there is a stall. @returns what is to be called at its end */
  begin(describe: Describe): () => void {
    this.running.add(describe);
    this.isBusy = true;
    if (!this.isFast) this.wake();
    return () => {
      this.running.delete(describe);
      this.isBusy = true;
      if (this.ended.length < MOST_NAMED) this.ended.push(describe);
    };
  }

  [Symbol.dispose](): void {
    clearTimeout(this.timer);
    this.times[Symbol.dispose]();
  }

  private wake(): void {
    const now = performance.now();
    clearTimeout(this.timer);
    this.last = { at: now, times: this.times.read() };
    this.busyUntil = now + IDLE_AFTER_MS;
    this.schedule(now);
  }

  private schedule(now: number): void {
    this.isFast = now < this.busyUntil;
    const delay = this.isFast ? TICK_MS : IDLE_TICK_MS;
    this.dueAt = now + delay;
    this.timer = setTimeout(() => this.tick(), delay);
    this.timer.unref();
  }

  private tick(): void {
    const at = performance.now();
    const times = this.times.read();
    const lateMs = at - this.dueAt;
    const computing = spent("computing", this.last.times, times);
    const starved = spent("starved", this.last.times, times);
    if (lateMs > STALL_MS) {
      // The time until the tick was due may have been spent sleeping.
      const waiting = Math.max(0, lateMs - computing - starved);
      this.report(lateMs, { computing, waiting, starved });
    }
    if (this.isBusy || computing > BUSY_SHARE * (at - this.last.at)) this.busyUntil = at + IDLE_AFTER_MS;
    this.isBusy = false;
    this.ended = [];
    this.last = { at, times };
    this.schedule(at);
  }

  private report(lateMs: number, spentMs: Record<StallCause, number>): void {
    const cause = STALL_CAUSES.reduce((most, each) => (spentMs[each] > spentMs[most] ? each : most));
    this.listener.onStall(cause, lateMs / 1000);
    const now = performance.now();
    if (now - this.messageAt < MESSAGE_INTERVAL_MS) {
      this.untold += 1;
      return;
    }
    const during = [...this.ended, ...[...this.running].reverse()].slice(0, MOST_NAMED);
    this.listener.log.warn(
      {
        ms: Math.round(lateMs),
        cause,
        spent: Object.fromEntries(STALL_CAUSES.map((each) => [each, Math.round(spentMs[each])])),
        during: during.map((describe) => describe().slice(0, MOST_CHARS)),
        ...(this.untold > 0 && { untold: this.untold }),
      },
      "the event loop stood still",
    );
    this.messageAt = now;
    this.untold = 0;
  }
}

/** Milliseconds between two readings; 0 where the kernel does not tell. */
function spent(
  on: keyof ThreadTimes,
  before: ThreadTimes | undefined,
  after: ThreadTimes | undefined,
): number {
  return (after?.[on] ?? 0) - (before?.[on] ?? 0);
}
