import type fs from "node:fs";
import { pipeline } from "node:stream";
import { createGunzip } from "node:zlib";
import { isErrno } from "@longshore/errors";
import { rotatedFile, withNames } from "@longshore/stdio";
import { type LogEntry, parseLogLine } from "./log-entry.ts";
import { LineSplitter, LogFile } from "./log-file.ts";

const CHUNK_BYTES = 256 * 1024;
/** How long to wait for who renames a log's files: that takes microseconds. */
const NAMES_MS = 1000;

export interface LogFiles {
  /** Oldest first. */
  rotated: RotatedLog[];
  current: LogFile;
}

/** All files of a log, opened while none changes its name, so that none is missed or read twice. */
export async function openLogFiles(file: string): Promise<LogFiles> {
  const open = (): LogFiles => {
    const current = new LogFile(file);
    const rotated: RotatedLog[] = [];
    for (let n = 1; ; n++) {
      const found = openRotated(rotatedFile(file, n));
      if (!found) return { current, rotated };
      rotated.unshift(found);
    }
  };
  try {
    for (const end = Date.now() + NAMES_MS; Date.now() < end; await Bun.sleep(1)) {
      const files = withNames(file, open);
      if (files) return files;
    }
    return open();
  } catch (error) {
    if (isErrno(error, "ENOENT")) return open(); // no directory: no files
    throw error;
  }
}

/** The current file, and what was rotated after one that was read until its end. */
export async function rotatedSince(file: string, seen: LogFile): Promise<LogFiles> {
  const { current, rotated } = await openLogFiles(file);
  const identity = seen.identity();
  const at = rotated.findLastIndex((old) => identity && old.isOf(identity));
  for (const old of rotated.slice(0, at + 1)) old.close();
  return { current, rotated: rotated.slice(at + 1) };
}

/** The last wanted entries of all files, read from the end; of the current one what is before `position`. */
export async function lastOf(
  { rotated, current, position }: LogFiles & { position: number },
  count: number,
  wanted: (entry: LogEntry) => boolean,
): Promise<LogEntry[]> {
  const entries = count > 0 ? lastLines(current, position, count, wanted) : [];
  for (const old of rotated.toReversed()) {
    if (entries.length < count) entries.unshift(...(await old.last(count - entries.length, wanted)));
    old.close();
  }
  return entries;
}

function lastLines(
  file: LogFile,
  end: number,
  count: number,
  wanted: (entry: LogEntry) => boolean,
): LogEntry[] {
  const entries: LogEntry[] = [];
  for (const line of file.linesBackwards(end)) {
    const entry = parseLogLine(line);
    if (entry && wanted(entry)) entries.push(entry);
    if (entries.length >= count) break;
  }
  return entries.reverse();
}

/** A file that no longer grows. */
export interface RotatedLog {
  /** Some at a time. */
  entries(): Iterable<LogEntry[]> | AsyncIterable<LogEntry[]>;
  last(count: number, wanted: (entry: LogEntry) => boolean): Promise<LogEntry[]>;
  /** Whether it is what was read as another file's descriptor. */
  isOf(file: fs.BigIntStats): boolean;
  close(): void;
}

function openRotated(name: string): RotatedLog | undefined {
  const plain = new LogFile(name);
  if (plain.identity()) {
    return {
      entries: () => plain.entries(),
      last: async (count, wanted) => lastLines(plain, plain.size, count, wanted),
      isOf: ({ ino }) => plain.identity()?.ino === ino,
      close: () => plain.close(),
    };
  }
  const compressed = new LogFile(`${name}.gz`);
  return compressed.identity() ? new CompressedLog(compressed) : undefined;
}

class CompressedLog implements RotatedLog {
  private readonly file: LogFile;

  constructor(file: LogFile) {
    this.file = file;
  }

  async *entries(): AsyncGenerator<LogEntry[]> {
    const lines = new LineSplitter();
    const gunzip = createGunzip({ chunkSize: CHUNK_BYTES });
    // What fails is thrown by the loop.
    pipeline(this.file.stream(), gunzip, () => {});
    for await (const chunk of gunzip) yield lines.push(chunk as Buffer);
  }

  /** There is no reading it from its end. */
  async last(count: number, wanted: (entry: LogEntry) => boolean): Promise<LogEntry[]> {
    let entries: LogEntry[] = [];
    for await (const some of this.entries()) {
      entries.push(...some.filter(wanted));
      if (entries.length >= 2 * count + 1000) entries = entries.slice(-count);
    }
    return entries.slice(-count);
  }

  /** It was given the time of what it was made from. */
  isOf({ mtimeNs }: fs.BigIntStats): boolean {
    return this.file.identity()?.mtimeNs === mtimeNs;
  }

  close(): void {
    this.file.close();
  }
}
