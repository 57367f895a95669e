import {
  clearNewlineTranslation,
  isTerminal,
  makeTerminalRaw,
  O_CLOEXEC,
  O_RDWR,
  openFile,
  restoreTerminal,
  setWindowSize,
  windowSize,
} from "@longshore/syscalls";

/** The terminal from which `run -t` or `exec -t` was started, in raw mode while the container has it. */
export class HostTerminal implements Disposable {
  readonly #host: number;
  #saved: Buffer | undefined;
  #master: number | undefined;

  /** Standard error, output or input, whichever is a terminal; all redirected: the controlling one. */
  constructor() {
    this.#host = [2, 1, 0].find(isTerminal) ?? openFile("/dev/tty", O_RDWR | O_CLOEXEC);
  }

  /** Join it with the master of the container's terminal. */
  attach(master: number): void {
    this.#master = master;
    // The host's terminal goes on to make CR LF of LF, so that output into a file has none.
    clearNewlineTranslation(master);
    this.#saved = makeTerminalRaw(this.#host, { keepOutput: true });
  }

  /** The container's terminal has the size of the host's. */
  resize(): void {
    if (this.#master === undefined) return;
    try {
      setWindowSize(this.#master, windowSize(this.#host));
    } catch {
      // One of the two is gone: nobody sees it any more.
    }
  }

  [Symbol.dispose](): void {
    if (!this.#saved) return;
    const saved = this.#saved;
    this.#saved = undefined;
    try {
      restoreTerminal(this.#host, saved);
    } catch {
      // Hung up meanwhile.
    }
  }
}
