import { close } from "@longshore/syscalls";
import { readSome, unwatch, type Watched, watch } from "./readiness.ts";
import type { Sink } from "./sink.ts";

/** Reads at a time, so that one busy process can't keep the event loop from the others. */
const READS_PER_TURN = 64;

/** Copies what a process writes into its sinks, as fast as the slowest sink that says so. */
export class OutputPump implements Watched {
  readonly #fd: number;
  readonly #onEnd: () => void;
  readonly #sinks: Sink[] = [];
  readonly #ended = Promise.withResolvers<void>();
  #blocked = false;
  #again: ReturnType<typeof setImmediate> | undefined;
  isEnded = false;

  /** @param onEnd called once, before the descriptor is closed */
  constructor(fd: number, onEnd: () => void = () => {}) {
    this.#fd = fd;
    this.#onEnd = onEnd;
  }

  /** Settles when the last writer has gone and all was handed on. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  addSink(sink: Sink): void {
    this.#sinks.push(sink);
  }

  start(): void {
    watch(this.#fd, this);
    // What came before that raised no signal.
    this.onReady();
  }

  /** A sink has room again. */
  resume(): void {
    if (!this.#blocked) return;
    this.#blocked = false;
    this.#again ??= setImmediate(() => {
      this.#again = undefined;
      this.onReady();
    });
  }

  onReady(): void {
    this.#copy(READS_PER_TURN);
  }

  /** Copy all there is at once, as long as the sinks take it. */
  drain(): void {
    this.#copy(Number.POSITIVE_INFINITY);
  }

  /** Stop, whether all was read or not. */
  close(): void {
    this.#end();
    for (const sink of this.#sinks) sink.close();
  }

  #copy(reads: number): void {
    for (let n = 0; !this.isEnded && !this.#blocked; n++) {
      if (n >= reads) {
        this.#again ??= setImmediate(() => {
          this.#again = undefined;
          this.onReady();
        });
        return;
      }
      const bytes = readSome(this.#fd);
      if (!bytes) return;
      if (bytes.length === 0) {
        this.#end();
        return;
      }
      for (const sink of this.#sinks) if (!sink.write(bytes)) this.#blocked = true;
    }
  }

  #end(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    unwatch(this);
    this.#onEnd();
    close(this.#fd);
    for (const sink of this.#sinks) sink.end();
    this.#ended.resolve();
  }
}
