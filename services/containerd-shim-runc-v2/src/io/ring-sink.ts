import { close, O_CLOEXEC, O_CREAT, O_TRUNC, O_WRONLY, openFile, writeAll } from "@longshore/syscalls";
import type { Sink } from "./sink.ts";

const NEWLINE = 10;
/** A line that is longer is handed on in pieces. */
const LINE_BYTES = 64 << 10;
const NOTHING = Buffer.alloc(0);
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
  /** The beginning of a line: only whole ones are handed on, so that none is torn when there is no room for its rest. */
  #begun: Buffer = NOTHING;
  /** The rest of a line whose beginning was dropped is dropped too. */
  #dropping = false;

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
    const end = rest.lastIndexOf(NEWLINE) + 1;
    if (end > 0) {
      const lines = rest.subarray(0, end);
      this.#offer(this.#begun.length > 0 ? Buffer.concat([this.#begun, lines]) : lines);
      this.#begun = NOTHING;
    }
    if (end < rest.length) this.#begin(rest.subarray(end));
    return true;
  }

  end(): void {
    if (this.#ending) return;
    this.#ending = true;
    if (this.#begun.length > 0) this.#takeBegun();
    if (!this.#busy) this.#finish();
  }

  close(): void {
    this.#ring.drop(linesIn(this.#waiting));
    this.#forget();
    this.#ring.tell();
    this.#sink?.close();
  }

  #begin(bytes: Uint8Array): void {
    this.#begun = Buffer.concat([this.#begun, bytes]);
    if (this.#begun.length > LINE_BYTES) this.#dropping = !this.#takeBegun();
  }

  /** False when there is no room for it: the line is dropped. */
  #takeBegun(): boolean {
    const bytes = this.#begun;
    this.#begun = NOTHING;
    const fits = bytes.length <= this.#room;
    if (fits) this.#take(bytes);
    else this.#ring.drop(1);
    return fits;
  }

  /** As many of these whole lines as there is room for. */
  #offer(lines: Uint8Array): void {
    const room = this.#room;
    const taken =
      lines.length <= room ? lines.length : room <= 0 ? 0 : lines.lastIndexOf(NEWLINE, room - 1) + 1;
    if (taken > 0) this.#take(lines.subarray(0, taken));
    if (taken < lines.length) this.#ring.drop(linesIn([lines.subarray(taken)]));
  }

  get #room(): number {
    return this.#busy ? this.#ring.room : Number.POSITIVE_INFINITY;
  }

  #take(bytes: Uint8Array): void {
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
