import type { Logger } from "@longshore/log";

/** containerd's settings of its scheduler. */
export interface GcSchedule {
  /** How much of the time collections may take at most: 0 to 0.5. With 0 there is a second between two of them. */
  readonly pauseThreshold: number;
  /** So many deletions bring about a collection without waiting for the pause after the last one; 0: none do. */
  readonly deletionThreshold: number;
  /** So many changes, deletions or not, bring one about after that pause; 0: only deletions do. */
  readonly mutationThreshold: number;
  /** Between what brings about a collection without a pause and that collection. */
  readonly scheduleDelayMs: number;
  /** Between the start and the first collection; 0: only changes bring one about. */
  readonly startupDelayMs: number;
}

export const DEFAULT_GC_SCHEDULE: Readonly<GcSchedule> = {
  pauseThreshold: 0.02,
  deletionThreshold: 0,
  mutationThreshold: 100,
  scheduleDelayMs: 0,
  startupDelayMs: 100,
};

/** A collection is taken to last at least so long. */
const SHORTEST_MS = 5;
const DEFAULT_PAUSE_MS = 1000;
const AFTER_FAILURE_MS = 1000;

/** Timers of node take no more than this. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export interface GcSchedulerOptions<T> {
  readonly schedule: Readonly<GcSchedule>;
  readonly log: Logger;
  collect(): Promise<T>;
}

/**
 * Decides when garbage is collected: a pause after changes, which is the longer the longer collections take; at once when someone waits
 * for it.
 *
 * @see containerd, `plugins/gc/scheduler.go`
 */
export class GcScheduler<T> implements AsyncDisposable {
  private readonly options: GcSchedulerOptions<T>;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private dueAt = Number.POSITIVE_INFINITY;
  private waiters: Array<PromiseWithResolvers<T>> = [];
  private deletions = 0;
  private mutations = 0;
  private spentMs = 0;
  private collections = 0;
  private running: Promise<unknown> = Promise.resolve();
  private stopped = false;

  constructor(options: GcSchedulerOptions<T>) {
    this.options = options;
    const { startupDelayMs } = options.schedule;
    if (startupDelayMs > 0) this.dueWithin(startupDelayMs);
  }

  /** Something was changed. @param deleted so that something may have become garbage */
  changed({ deleted }: { deleted: boolean }): void {
    const { deletionThreshold, mutationThreshold, scheduleDelayMs } = this.options.schedule;
    this.mutations++;
    if (deleted) this.deletions++;
    if (deletionThreshold > 0 && this.deletions >= deletionThreshold) this.dueWithin(scheduleDelayMs);
    else if (this.deletions > 0 || (mutationThreshold > 0 && this.mutations >= mutationThreshold)) {
      this.dueWithin(this.pauseMs);
    }
  }

  /** Collect as soon as may be; what that collection removed. */
  trigger(): Promise<T> {
    if (this.stopped) return Promise.reject(new Error("garbage collection has ended"));
    const waiter = Promise.withResolvers<T>();
    this.waiters.push(waiter);
    this.dueWithin(this.options.schedule.scheduleDelayMs);
    return waiter.promise;
  }

  /** Collect within so many milliseconds, or earlier when that was planned. */
  dueWithin(delayMs: number): void {
    const at = performance.now() + delayMs;
    if (this.stopped || at >= this.dueAt) return;
    clearTimeout(this.timer);
    this.dueAt = at;
    this.timer = setTimeout(
      () => {
        this.dueAt = Number.POSITIVE_INFINITY;
        // One after the other: what was changed during one is for the next.
        this.running = this.running.then(() => this.run());
      },
      Math.min(delayMs, LONGEST_TIMER_MS),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.running;
    for (const { reject } of this.waiters.splice(0)) reject(new Error("garbage collection has ended"));
  }

  /** Such a pause that collections take no more of the time than they may. */
  private get pauseMs(): number {
    const { pauseThreshold } = this.options.schedule;
    if (pauseThreshold === 0 || this.collections === 0) return DEFAULT_PAUSE_MS;
    const average = Math.max(this.spentMs / this.collections, SHORTEST_MS);
    return average / pauseThreshold - average;
  }

  private async run(): Promise<void> {
    const waiters = this.waiters.splice(0);
    const began = performance.now();
    this.deletions = 0;
    this.mutations = 0;
    try {
      const result = await this.options.collect();
      for (const { resolve } of waiters) resolve(result);
      this.spentMs += performance.now() - began;
      this.collections++;
    } catch (error) {
      this.options.log.error({ err: error }, "garbage collection failed");
      for (const { reject } of waiters) reject(error);
      this.dueWithin(this.pauseMs + AFTER_FAILURE_MS);
    }
  }
}
