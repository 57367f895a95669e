import { close } from "@longshore/syscalls";
import { readSome, scan, signalWhenReady, unwatch, type Watched, watch } from "./readiness.ts";
import type { Sink } from "./sink.ts";

/** At a stretch, so that one busy process can't keep the event loop from the others. */
const TURN_MS = 16;
/** How often somebody who writes all the time is looked at. */
const POLL_MS = 1;

/**
 * Copies what a process writes into its sinks, as fast as the slowest sink that says so. Each write raises a signal, which takes us longer
 * than a short one takes its writer: one that writes without end would leave us no time for anything else. So when there is more after a
 * read, signals are off, and it is looked at now and then until once there is nothing.
 */
export class OutputPump implements Watched {
  readonly #fd: number;
  readonly #onEnd: () => void;
  readonly #sinks: Sink[] = [];
  readonly #ended = Promise.withResolvers<void>();
  #blocked = false;
  #isBusy = false;
  #again: ReturnType<typeof setImmediate> | undefined;
  #poll: ReturnType<typeof setTimeout> | undefined;
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

  /** What another program needs to go on with this; undefined while there is something to do, or nothing any more. */
  get suspended(): number | undefined {
    const rests = !this.isEnded && !this.#blocked && !this.#isBusy && !this.#again && !this.#poll;
    return rests ? this.#fd : undefined;
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
    this.#nextTurn();
  }

  /** While it looks by itself what others hear says nothing of it: that there is nothing just now doesn't mean that it rests. */
  onReady(): void {
    if (this.#again || this.#poll) return;
    this.#copy(performance.now() + TURN_MS);
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

  #copy(until: number): void {
    for (let reads = 0; !this.isEnded && !this.#blocked; reads++) {
      if (reads > 1 && performance.now() > until) {
        this.#nextTurn();
        return;
      }
      const bytes = readSome(this.#fd);
      if (!bytes) {
        if (!this.#rest(reads > 0)) return;
        continue;
      }
      if (bytes.length === 0) {
        this.#end();
        return;
      }
      if (reads === 1 && !this.#isBusy) {
        this.#isBusy = true;
        signalWhenReady(this.#fd, false);
      }
      for (const sink of this.#sinks) if (!sink.write(bytes)) this.#blocked = true;
    }
  }

  /** There is nothing to read now. @returns whether that is to be tried again at once */
  #rest(hasRead: boolean): boolean {
    if (!this.#isBusy) return false;
    if (hasRead) {
      this.#poll ??= setTimeout(() => {
        this.#poll = undefined;
        this.#look();
      }, POLL_MS);
      return false;
    }
    this.#isBusy = false;
    signalWhenReady(this.#fd, true);
    // What could have been written meanwhile was told to nobody.
    setImmediate(scan);
    return true;
  }

  #nextTurn(): void {
    this.#again ??= setImmediate(() => {
      this.#again = undefined;
      this.#look();
    });
  }

  /** Without signals a terminal's other direction, which has the same descriptor, has nobody else who looks. */
  #look(): void {
    if (this.#isBusy) scan();
    else this.onReady();
  }

  #end(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    unwatch(this);
    clearTimeout(this.#poll);
    this.#onEnd();
    close(this.#fd);
    for (const sink of this.#sinks) sink.end();
    this.#ended.resolve();
  }
}
