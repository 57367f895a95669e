import fs from "node:fs";
import path from "node:path";
import { isErrno } from "@longshore/errors";
import { type LogEntry, parseLogLine, timeToNano } from "./log-entry.ts";

export interface ReadLogOptions {
  /** The last so many entries; undefined is all. */
  tail?: number | undefined;
  sinceNano?: bigint | undefined;
  untilNano?: bigint | undefined;
  /** Go on with what is written later, until this says that nothing more will be. */
  follow?: { ended: () => boolean; wake: (listener: () => void) => () => void } | undefined;
  signal: AbortSignal;
}

const CHUNK_BYTES = 256 * 1024;
const POLL_MS = 1000;

/** The entries of a json-file log with its rotated files (`FILE.2`, `FILE.1`, `FILE`), oldest first. */
export async function* readLog(file: string, options: ReadLogOptions): AsyncGenerator<LogEntry> {
  const { sinceNano, untilNano, tail, follow, signal } = options;
  const wanted = (entry: LogEntry) => {
    const time = sinceNano === undefined && untilNano === undefined ? 0n : timeToNano(entry.time);
    return (sinceNano === undefined || time >= sinceNano) && (untilNano === undefined || time <= untilNano);
  };
  const files = filesOf(file);
  const reader = new LogFile(file);
  using watch = follow && new LogWatch(file, follow, signal);
  try {
    if (tail === undefined) {
      for (const old of files.slice(0, -1)) yield* filter(wholeFile(old), wanted, signal);
    } else {
      const { entries, position } = lastEntries(files, tail, wanted);
      reader.seek(position);
      for (const entry of entries) yield entry;
    }
    for (;;) {
      const ended = follow?.ended() ?? true; // asked before reading: what comes after an end is nothing
      yield* filter(reader.entries(), wanted, signal);
      if (signal.aborted || (untilNano !== undefined && BigInt(Date.now()) * 1_000_000n > untilNano)) return;
      if (ended) return;
      await watch?.next();
      if (reader.rotated()) {
        yield* filter(reader.entries(), wanted, signal);
        reader.reopen();
      }
    }
  } finally {
    reader.close();
  }
}

/** Tells when a log may have grown, or its container may have ended. */
class LogWatch implements Disposable {
  private readonly watcher: fs.FSWatcher;
  private readonly unlisten: (() => void) | undefined;
  private changed = false;
  private wake: (() => void) | undefined;

  constructor(file: string, follow: NonNullable<ReadLogOptions["follow"]>, signal: AbortSignal) {
    const note = () => {
      this.changed = true;
      this.wake?.();
    };
    this.watcher = fs.watch(path.dirname(file), note);
    this.watcher.on("error", note); // the directory is gone
    this.unlisten = follow.wake(note);
    signal.addEventListener("abort", note, { once: true });
    if (signal.aborted) note();
  }

  /** Resolves at the first change since the last call. */
  async next(): Promise<void> {
    if (!this.changed) {
      await new Promise<void>((resolve) => {
        // Notifications get lost when the kernel's queue is full: look now and then anyway.
        const timer = setTimeout(resolve, POLL_MS);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.wake = undefined;
    this.changed = false;
  }

  [Symbol.dispose](): void {
    this.watcher.close();
    this.unlisten?.();
  }
}

function* wholeFile(file: string): Generator<LogEntry> {
  const reader = new LogFile(file);
  try {
    yield* reader.entries();
  } finally {
    reader.close();
  }
}

async function* filter(
  entries: Iterable<LogEntry>,
  wanted: (entry: LogEntry) => boolean,
  signal: AbortSignal,
): AsyncGenerator<LogEntry> {
  for (const entry of entries) {
    if (signal.aborted) return;
    if (wanted(entry)) yield entry;
  }
}

/** Rotated files, oldest first, and the current one. */
function filesOf(file: string): string[] {
  const files = [file];
  for (let n = 1; fs.existsSync(`${file}.${n}`); n++) files.unshift(`${file}.${n}`);
  return files;
}

/** The last wanted entries of all files, read from the end, and where in the newest file they stop. */
function lastEntries(files: string[], count: number, wanted: (entry: LogEntry) => boolean) {
  const entries: LogEntry[] = [];
  let position = 0;
  for (const [index, file] of files.toReversed().entries()) {
    const size = sizeOf(file);
    if (index === 0) position = endOfLastLine(file, size);
    for (const line of count > 0 ? linesBackwards(file, index === 0 ? position : size) : []) {
      const entry = parseLogLine(line);
      if (entry && wanted(entry)) entries.push(entry);
      if (entries.length >= count) return { entries: entries.reverse(), position };
    }
  }
  return { entries: entries.reverse(), position };
}

function* linesBackwards(file: string, end: number): Generator<string> {
  const fd = open(file);
  if (fd === undefined) return;
  try {
    let rest = Buffer.alloc(0);
    for (let at = end; at > 0; ) {
      const length = Math.min(CHUNK_BYTES, at);
      at -= length;
      const chunk = Buffer.alloc(length);
      fs.readSync(fd, chunk, 0, length, at);
      rest = Buffer.concat([chunk, rest]);
      for (let newline = rest.lastIndexOf(10, -2); newline >= 0; newline = rest.lastIndexOf(10, -2)) {
        yield rest.subarray(newline + 1).toString();
        rest = rest.subarray(0, newline + 1);
        if (rest.length < 2) break;
      }
    }
    if (rest.length > 0) yield rest.toString();
  } finally {
    fs.closeSync(fd);
  }
}

function endOfLastLine(file: string, size: number): number {
  const fd = open(file);
  if (fd === undefined) return 0;
  try {
    for (let end = size; end > 0; ) {
      const length = Math.min(CHUNK_BYTES, end);
      const chunk = Buffer.alloc(length);
      fs.readSync(fd, chunk, 0, length, end - length);
      const newline = chunk.lastIndexOf(10);
      if (newline >= 0) return end - length + newline + 1;
      end -= length;
    }
    return 0;
  } finally {
    fs.closeSync(fd);
  }
}

/** Reads a growing file line by line; a line that is only begun stays for the next call. */
class LogFile {
  private readonly file: string;
  private fd: number | undefined;
  private position = 0;
  private partial = Buffer.alloc(0);

  constructor(file: string) {
    this.file = file;
    this.fd = open(file);
  }

  seek(position: number): void {
    this.position = position;
  }

  *entries(): Generator<LogEntry> {
    this.fd ??= open(this.file);
    if (this.fd === undefined) return;
    const chunk = Buffer.alloc(CHUNK_BYTES);
    for (;;) {
      const length = fs.readSync(this.fd, chunk, 0, CHUNK_BYTES, this.position);
      if (length === 0) return;
      this.position += length;
      const bytes = Buffer.concat([this.partial, chunk.subarray(0, length)]);
      let start = 0;
      for (let newline = bytes.indexOf(10); newline >= 0; newline = bytes.indexOf(10, start)) {
        const entry = parseLogLine(bytes.toString("utf8", start, newline));
        start = newline + 1;
        if (entry) yield entry;
      }
      this.partial = Buffer.from(bytes.subarray(start));
    }
  }

  /** Whether the name means another file by now. */
  rotated(): boolean {
    if (this.fd === undefined) return false;
    try {
      return fs.statSync(this.file).ino !== fs.fstatSync(this.fd).ino;
    } catch (error) {
      if (isErrno(error, "ENOENT")) return false;
      throw error;
    }
  }

  reopen(): void {
    this.close();
    this.position = 0;
    this.partial = Buffer.alloc(0);
    this.fd = open(this.file);
  }

  close(): void {
    if (this.fd !== undefined) fs.closeSync(this.fd);
    this.fd = undefined;
  }
}

function open(file: string): number | undefined {
  try {
    return fs.openSync(file, "r");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

function sizeOf(file: string): number {
  try {
    return fs.statSync(file).size;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return 0;
    throw error;
  }
}
