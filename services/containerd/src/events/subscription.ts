import { EngineError } from "@longshore/errors";
import type { Envelope } from "./envelope.ts";

/** A subscriber this far behind is cut off, so that it can't eat the daemon's memory. */
const MAX_WAITING = 50_000;

/** The queue between the exchange and one subscriber. */
export class Subscription implements Disposable {
  readonly #waiting: Envelope[] = [];
  #wake: (() => void) | undefined;
  #ended = false;
  #failure: EngineError | undefined;
  readonly #onEnd: () => void;

  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
  }

  push(envelope: Envelope): void {
    if (this.#ended) return;
    if (this.#waiting.length >= MAX_WAITING) {
      this.#failure = new EngineError("resource_exhausted", `subscriber is ${MAX_WAITING} events behind`);
      this.#end();
      return;
    }
    this.#waiting.push(envelope);
    this.#wake?.();
  }

  /** What comes, in order, until the signal is aborted or the subscriber falls too far behind. */
  async *read(signal: AbortSignal): AsyncGenerator<Envelope> {
    const stop = () => this.#end();
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    try {
      while (true) {
        const batch = this.#waiting.splice(0);
        yield* batch;
        if (this.#waiting.length > 0) continue;
        if (this.#failure) throw this.#failure;
        if (this.#ended) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      signal.removeEventListener("abort", stop);
      this.#end();
    }
  }

  [Symbol.dispose](): void {
    this.#end();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onEnd();
    this.#wake?.();
  }
}
