import type { Logger } from "@longshore/log";
import { type Netns, newNetns } from "./sandbox.ts";

/** How many stand ready: enough for a start after a start; each costs the kernel some 100 KiB. */
const SIZE = 2;
/** After the last use, so that refilling does not delay the container that is just being started. */
const REFILL_DELAY_MS = 20;

/**
 * Network namespaces made ahead of need, as making one takes the kernel about a millisecond. They exist by their
 * descriptors only: when this process ends, however it ends, they end.
 */
export class NetnsPool implements Disposable {
  readonly #log: Logger;
  readonly #ready: Netns[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(log: Logger) {
    this.#log = log;
    this.#refillLater();
  }

  /** One that stood ready, or a new one. The caller disposes of it. */
  take(): Netns {
    this.#refillLater();
    return this.#ready.pop() ?? newNetns();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    for (const netns of this.#ready.splice(0)) netns[Symbol.dispose]();
  }

  #refillLater(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#refill(), REFILL_DELAY_MS);
    this.#timer.unref();
  }

  /** One at a time, so that calls get their turn between them. */
  #refill(): void {
    if (this.#ready.length >= SIZE) return;
    try {
      this.#ready.push(newNetns());
    } catch (error) {
      // Whoever needs one will try again, and tell.
      this.#log.debug({ err: error }, "no network namespace could be made ahead");
      return;
    }
    this.#refillLater();
  }
}
