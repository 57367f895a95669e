import type { ReadStream, WriteStream } from "node:tty";

// node:tty and the process streams are loaded only by commands that meet a terminal: they cost more than the rest of a start.

export function isTerminal(fd: 0 | 1 | 2): boolean {
  return (require("node:tty") as typeof import("node:tty")).isatty(fd);
}

let output: WriteStream | undefined;

/** Of the terminal on stdout; zeros when there is none. */
export function terminalSize(): { height: number; width: number } {
  if (!isTerminal(1)) return { height: 0, width: 0 };
  const { WriteStream } = require("node:tty") as typeof import("node:tty");
  output ??= new WriteStream(1);
  const [width, height] = output.getWindowSize();
  return { height, width };
}

/** The terminal on stdin in raw mode, until disposed of. */
export class RawTerminal implements Disposable {
  readonly #stream: ReadStream;
  #raw = true;

  constructor() {
    const { ReadStream } = require("node:tty") as typeof import("node:tty");
    this.#stream = new ReadStream(0);
    this.#stream.setRawMode(true);
  }

  onInput(take: (data: Buffer) => void, end: () => void): void {
    this.#stream.on("data", take);
    this.#stream.on("end", end);
    this.#stream.on("error", end);
  }

  [Symbol.dispose](): void {
    if (!this.#raw) return;
    this.#raw = false;
    this.#stream.setRawMode(false);
    this.#stream.pause();
  }
}
