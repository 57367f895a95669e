import { close, O_CLOEXEC, O_CREAT, O_TRUNC, O_WRONLY, openFile, writeAll } from "@longshore/syscalls";
import type { Sink } from "./sink.ts";

const NEWLINE = 10;
const LINE_END = Buffer.from([NEWLINE]);
/** How often at most the number of dropped lines is written. */
const TELL_MS = 500;

/** What the streams of a process share. */
export class Ring {
  readonly #limitBytes: number;
  readonly #droppedFile: string | undefined;
  #timer: Timer | undefined;
  /** Bytes that wait. */
  bytes = 0;
  dropped = 0;

  constructor(limitBytes: number, droppedFile: string | undefined) {
    this.#limitBytes = limitBytes;
    this.#droppedFile = droppedFile;
  }

  get room(): number {
    return this.#limitBytes - this.bytes;
  }

  drop(lines: number): void {
    if (lines === 0) return;
    this.dropped += lines;
    this.#timer ??= setTimeout(() => this.tell(), TELL_MS);
  }

  /** Write how many there are now. */
  tell(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#droppedFile === undefined || this.dropped === 0) return;
    try {
      const fd = openFile(this.#droppedFile, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o640);
      writeAll(fd, `${this.dropped}\n`);
      close(fd);
    } catch {
      // The container has been removed, or the disk is full: a number is not worth more.
    }
  }
}

/**
 * Takes whatever comes for a sink that may be slow: so much waits in memory, and of what is more whole lines are dropped and
 * counted. Never makes its writer wait.
 */
export class RingSink implements Sink {
  readonly #ring: Ring;
  readonly #open: (onRoom: () => void) => Sink;
  #sink: Sink | undefined;
  #waiting: Buffer[] = [];
  #busy = false;
  #ending = false;
  /** The rest of a line whose beginning was dropped is dropped too. */
  #dropping = false;
  /** What was taken last is no whole line. */
  #inLine = false;

  /** @param open makes the slow sink; what it is given is to be called when it has room again */
  constructor(ring: Ring, open: (onRoom: () => void) => Sink) {
    this.#ring = ring;
    this.#open = open;
    this.#sink = this.#open(() => this.#resume());
  }

  write(bytes: Uint8Array): boolean {
    let rest = bytes;
    if (this.#dropping) {
      const end = rest.indexOf(NEWLINE);
      if (end < 0) return true;
      this.#dropping = false;
      rest = rest.subarray(end + 1);
    }
    const room = this.#busy ? this.#ring.room : Number.POSITIVE_INFINITY;
    if (rest.length <= room) this.#take(rest);
    else this.#takeSome(rest, room);
    return true;
  }

  end(): void {
    this.#ending = true;
    if (!this.#busy) this.#finish();
  }

  close(): void {
    this.#ring.drop(linesIn(this.#waiting));
    this.#forget();
    this.#ring.tell();
    this.#sink?.close();
  }

  /** As many whole lines as there is room for. */
  #takeSome(bytes: Uint8Array, room: number): void {
    const whole = room <= 0 ? 0 : bytes.lastIndexOf(NEWLINE, room - 1) + 1;
    if (whole > 0) this.#take(bytes.subarray(0, whole));
    const dropped = bytes.subarray(whole);
    if (dropped.length === 0) return;
    // A line whose beginning was taken ends here, so that the next one isn't taken for its rest.
    if (this.#inLine) this.#take(LINE_END);
    this.#dropping = dropped[dropped.length - 1] !== NEWLINE;
    this.#ring.drop(linesIn([dropped]) + (this.#dropping ? 1 : 0));
  }

  #take(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#inLine = bytes[bytes.length - 1] !== NEWLINE;
    if (this.#busy) {
      this.#waiting.push(Buffer.from(bytes));
      this.#ring.bytes += bytes.length;
    } else if (this.#sink?.write(bytes) === false) this.#busy = true;
  }

  #resume(): void {
    this.#busy = false;
    while (!this.#busy) {
      const next = this.#waiting.shift();
      if (!next) break;
      this.#ring.bytes -= next.length;
      if (this.#sink?.write(next) === false) this.#busy = true;
    }
    if (this.#ending && !this.#busy) this.#finish();
  }

  #finish(): void {
    this.#ring.tell();
    this.#sink?.end();
  }

  #forget(): void {
    for (const { length } of this.#waiting) this.#ring.bytes -= length;
    this.#waiting = [];
  }
}

function linesIn(chunks: readonly Uint8Array[]): number {
  let lines = 0;
  for (const chunk of chunks) {
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, at + 1)) lines++;
  }
  return lines;
}
