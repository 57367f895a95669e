import fs from "node:fs";
import { isErrno } from "@longshore/errors";
import { type LogEntry, parseLogBytes } from "./log-entry.ts";

const CHUNK_BYTES = 256 * 1024;

/** Reads a growing file line by line; a line that is only begun stays for the next call. */
export class LogFile {
  private readonly file: string;
  private fd: number | undefined;
  private position = 0;
  private readonly lines = new LineSplitter();

  constructor(file: string) {
    this.file = file;
    this.fd = openIfThere(file);
  }

  /** What the file is known by, whatever its name; undefined when there is none yet. */
  identity(): fs.BigIntStats | undefined {
    return this.fd === undefined ? undefined : fs.fstatSync(this.fd, { bigint: true });
  }

  get size(): number {
    return Number(this.identity()?.size ?? 0n);
  }

  seek(position: number): void {
    this.position = position;
  }

  /** All that is new, some at a time. */
  *entries(): Generator<LogEntry[]> {
    this.fd ??= openIfThere(this.file);
    if (this.fd === undefined) return;
    const chunk = Buffer.alloc(CHUNK_BYTES);
    for (;;) {
      const length = this.read(chunk, this.position);
      if (length === 0) return;
      this.position += length;
      yield this.lines.push(chunk.subarray(0, length));
    }
  }

  /** @returns how many bytes there were */
  read(into: Buffer, position: number): number {
    return this.fd === undefined ? 0 : fs.readSync(this.fd, into, 0, into.length, position);
  }

  /** All bytes from the first on; the file stays open. */
  stream(): fs.ReadStream {
    if (this.fd === undefined) throw new Error(`${this.file} is not open`);
    return fs.createReadStream("", { fd: this.fd, autoClose: false, start: 0, highWaterMark: CHUNK_BYTES });
  }

  /** Lines from the last one before `end` to the first. */
  *linesBackwards(end: number): Generator<string> {
    let rest = Buffer.alloc(0);
    for (let at = end; at > 0; ) {
      const length = Math.min(CHUNK_BYTES, at);
      at -= length;
      const chunk = Buffer.alloc(length);
      this.read(chunk, at);
      rest = Buffer.concat([chunk, rest]);
      for (let newline = rest.lastIndexOf(10, -2); newline >= 0; newline = rest.lastIndexOf(10, -2)) {
        yield rest.subarray(newline + 1).toString();
        rest = rest.subarray(0, newline + 1);
        if (rest.length < 2) break;
      }
    }
    if (rest.length > 0) yield rest.toString();
  }

  /** False when the name means another file by now, or the file was started over: then its beginning is read next. */
  isCurrent(): boolean {
    const ours = this.identity();
    if (!ours) return true;
    if (ours.size < this.position) {
      this.position = 0;
      return true;
    }
    const named = fs.statSync(this.file, { bigint: true, throwIfNoEntry: false });
    return named === undefined || named.ino === ours.ino;
  }

  close(): void {
    if (this.fd !== undefined) fs.closeSync(this.fd);
    this.fd = undefined;
  }
}

/** Makes entries of chunks, wherever these were cut. */
export class LineSplitter {
  private partial = Buffer.alloc(0);

  push(chunk: Buffer): LogEntry[] {
    const bytes = Buffer.concat([this.partial, chunk]);
    const entries: LogEntry[] = [];
    let start = 0;
    for (let newline = bytes.indexOf(10); newline >= 0; newline = bytes.indexOf(10, start)) {
      const entry = parseLogBytes(bytes, start, newline);
      start = newline + 1;
      if (entry) entries.push(entry);
    }
    this.partial = Buffer.from(bytes.subarray(start));
    return entries;
  }
}

/** Where the last whole line ends. */
export function endOfLastLine(file: LogFile): number {
  for (let end = file.size; end > 0; ) {
    const chunk = Buffer.alloc(Math.min(CHUNK_BYTES, end));
    file.read(chunk, end - chunk.length);
    const newline = chunk.lastIndexOf(10);
    if (newline >= 0) return end - chunk.length + newline + 1;
    end -= chunk.length;
  }
  return 0;
}

function openIfThere(file: string): number | undefined {
  try {
    return fs.openSync(file, "r");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}
