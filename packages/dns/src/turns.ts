import { close, dup3, Fd, fcntl, socket } from "@longshore/syscalls";

/** How long queries are answered in one turn of the event loop: while nothing else happens in the process, and at least. */
const MOST_MS = 2;
const LEAST_MS = 0.2;
/** Other work of a turn that takes longer than this is more than looking for what has come. */
const OTHER_WORK_MS = 0.1;

/**
 * Shares each turn of the event loop among the listeners that have more queries than it has time for, and with the rest of
 * the process: when that is busy, queries get no more time than it takes.
 */
export class Turns {
  #sliceMs = MOST_MS;
  #isOn = false;
  #endedAt = 0;
  /** Listeners whose time was over in the turn before. */
  #crowd = 0;
  readonly #ends = new Set<() => boolean>();

  /**
   * The time that a listener has in this turn, which starts now if it has not.
   * @param end is called at the end of the turn. Returns whether the listener's time was over before
   */
  share(now: number, end: () => boolean): number {
    if (!this.#isOn) this.#start(now);
    this.#ends.add(end);
    return this.#sliceMs / Math.max(1, this.#crowd);
  }

  #start(now: number): void {
    this.#isOn = true;
    if (this.#crowd > 0) {
      const others = now - this.#endedAt;
      const wanted = others > OTHER_WORK_MS ? Math.min(others, this.#sliceMs / 2) : 2 * this.#sliceMs;
      this.#sliceMs = Math.min(MOST_MS, Math.max(LEAST_MS, wanted));
    }
    setImmediate(() => {
      const ends = [...this.#ends];
      this.#ends.clear();
      this.#isOn = false;
      this.#endedAt = performance.now();
      // Some go on at once, in the next turn.
      this.#crowd = ends.filter((end) => end()).length;
    });
  }
}

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0x800;
const F_DUPFD_CLOEXEC = 1030;
const O_CLOEXEC = 0x80000;

/**
 * The descriptor of a UDP socket of Bun's, which reads a socket until it is empty: while others send faster than that, nothing
 * else happens in the process. Meanwhile the descriptor can stand for a socket to which nothing comes. Whoever sends by it
 * must wait, too.
 */
export class PausableSocket implements Disposable {
  readonly #fd: number;
  readonly #empty: number;
  /** The socket, while the descriptor stands for the other. */
  #kept: number | undefined;

  /** @param empty a socket to which nothing comes */
  constructor(fd: number, empty: number) {
    this.#fd = fd;
    this.#empty = empty;
  }

  get isPaused(): boolean {
    return this.#kept !== undefined;
  }

  /** Let reads find nothing. What comes waits, as far as there is room for it. */
  pause(): void {
    if (this.isPaused) return;
    this.#kept = fcntl(this.#fd, F_DUPFD_CLOEXEC);
    dup3(this.#empty, this.#fd, O_CLOEXEC);
  }

  resume(): void {
    if (this.#kept === undefined) return;
    dup3(this.#kept, this.#fd, O_CLOEXEC);
    close(this.#kept);
    this.#kept = undefined;
  }

  /** Give the descriptor back to its owner, who may close it then. */
  [Symbol.dispose](): void {
    this.resume();
  }
}

/** A UDP socket to which nothing comes. */
export function emptySocket(): Fd {
  return new Fd(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK));
}
