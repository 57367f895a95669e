import fs from "node:fs";
import type { ReadStream } from "node:tty";

// The kernel's calls (a file of their own in the executable, beside that of the command) and node:tty are loaded only by
// commands that meet a terminal: the others start faster without.
const kernel = () => require("./".concat("kernel.js")) as typeof import("../entries/kernel.ts");
const tty = () => require("node:tty") as typeof import("node:tty");

export function isTerminal(fd: 0 | 1 | 2): boolean {
  return tty().isatty(fd);
}

/** Of the terminal on stdout; zeros when there is none. */
export function terminalSize(): { height: number; width: number } {
  if (!isTerminal(1)) return { height: 0, width: 0 };
  const { rows, columns } = kernel().windowSize(1);
  return { height: rows, width: columns };
}

/** The terminal on stdin in raw mode, until disposed of. */
export class RawTerminal implements Disposable {
  readonly #stream: ReadStream;
  #saved: Buffer | undefined;

  constructor() {
    const { ReadStream } = tty();
    this.#stream = new ReadStream(0);
    this.#saved = kernel().makeTerminalRaw(0);
  }

  onInput(take: (data: Buffer) => void, end: () => void): void {
    this.#stream.on("data", take);
    this.#stream.on("end", end);
    this.#stream.on("error", end);
  }

  [Symbol.dispose](): void {
    if (!this.#saved) return;
    kernel().restoreTerminal(0, this.#saved);
    this.#saved = undefined;
    this.#stream.pause();
  }
}

const CTRL_C = 3;
const CTRL_D = 4;
const BACKSPACES = [8, 127];
const LINE_ENDS = [10, 13];

/** A line typed on the terminal on stdin without being shown; undefined when it is broken off. */
export function readSecretLine(): string | undefined {
  const saved = kernel().makeTerminalRaw(0);
  try {
    const byte = Buffer.alloc(1);
    const typed: number[] = [];
    while (fs.readSync(0, byte) === 1) {
      const [key = 0] = byte;
      if (key === CTRL_C || key === CTRL_D) return undefined;
      if (LINE_ENDS.includes(key)) break;
      if (BACKSPACES.includes(key)) typed.pop();
      else typed.push(key);
    }
    return Buffer.from(typed).toString();
  } finally {
    kernel().restoreTerminal(0, saved);
  }
}
