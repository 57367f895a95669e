import { close } from "@longshore/syscalls";
import { unwatch, type Watched, watch, writeSome } from "./readiness.ts";
import type { Sink } from "./sink.ts";

/** Bytes into a descriptor that may take them only later: a FIFO, a pipe to a process, a terminal, a file. */
export class FdSink implements Sink, Watched {
  readonly #fd: number;
  readonly #onReady: () => void;
  #onEnd: () => void;
  #rest: Buffer[] = [];
  #watching = false;
  #ending = false;
  #closed = false;

  /**
   * @param onReady called when bytes that `write` could not send at once are gone
   * @param onEnd called once, when everything is written and the descriptor is no longer used: closes it
   */
  constructor(fd: number, onReady: () => void, onEnd: () => void = () => close(fd)) {
    this.#fd = fd;
    this.#onReady = onReady;
    this.#onEnd = onEnd;
  }

  /** Whether nothing waits to be written. */
  get isEmpty(): boolean {
    return this.#rest.length === 0;
  }

  /** Its descriptor, until it is closed. */
  get fd(): number | undefined {
    return this.#closed ? undefined : this.#fd;
  }

  /** False: some of it waits, and the writer should too until `onReady`. Bytes that nobody can read are dropped. */
  write(bytes: Uint8Array): boolean {
    if (this.#closed || this.#ending) return true;
    if (this.#rest.length > 0) {
      this.#rest.push(Buffer.from(bytes));
      return false;
    }
    const written = writeSome(this.#fd, bytes);
    if (written === undefined) {
      this.close();
      return true;
    }
    if (written === bytes.length) return true;
    this.#rest.push(Buffer.from(bytes.subarray(written)));
    if (!this.#watching) {
      this.#watching = true;
      watch(this.#fd, this);
      // It may have been emptied before it was watched.
      this.onReady();
    }
    return this.#rest.length === 0;
  }

  onReady(): void {
    for (let head = this.#rest[0]; head && !this.#closed; head = this.#rest[0]) {
      const written = writeSome(this.#fd, head);
      if (written === undefined) {
        this.close();
        break;
      }
      if (written < head.length) {
        this.#rest[0] = head.subarray(written);
        return;
      }
      this.#rest.shift();
      if (this.#rest.length === 0) this.#onReady();
    }
    if (this.#ending) this.close();
  }

  /** No more will come: the descriptor is closed when all is written. */
  end(): void {
    this.#ending = true;
    if (this.#rest.length === 0) this.close();
  }

  /** Give up what is not written. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const waited = this.#rest.length > 0;
    this.#rest = [];
    unwatch(this);
    this.#onEnd();
    if (waited) this.#onReady();
  }
}
