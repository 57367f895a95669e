import fs from "node:fs";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import { type LogEntry, timeToNano } from "./log-entry.ts";
import { endOfLastLine } from "./log-file.ts";
import { lastOf, openLogFiles, type RotatedLog, rotatedSince } from "./rotated-log.ts";

export interface ReadLogOptions {
  /** The last so many entries; undefined is all. */
  tail?: number | undefined;
  sinceNano?: bigint | undefined;
  untilNano?: bigint | undefined;
  /** Go on with what is written later, until this says that nothing more will be. */
  follow?: { ended: () => boolean; wake: (listener: () => void) => () => void } | undefined;
  signal: AbortSignal;
}

const POLL_MS = 1000;

/** The entries of a json-file log with its rotated files (`FILE.2.gz`, `FILE.1`, `FILE`), oldest first, some at a time. */
export async function* readLog(file: string, options: ReadLogOptions): AsyncGenerator<LogEntry[]> {
  const { sinceNano, untilNano, tail, follow, signal } = options;
  const isAny = sinceNano === undefined && untilNano === undefined;
  const wanted = (entry: LogEntry) => {
    if (isAny) return true;
    const time = timeToNano(entry.time);
    return (sinceNano === undefined || time >= sinceNano) && (untilNano === undefined || time <= untilNano);
  };
  using watch = follow && new LogWatch(file, follow, signal);
  const opened = await openLogFiles(file);
  let reader = opened.current;
  try {
    if (tail === undefined) {
      yield* wholeFiles(opened.rotated, wanted, signal);
    } else {
      const position = endOfLastLine(reader);
      reader.seek(position);
      yield await lastOf({ ...opened, position }, tail, wanted);
    }
    for (;;) {
      const ended = follow?.ended(); // asked before reading: what comes after an end is nothing
      yield* filter(reader.entries(), wanted, signal);
      if (!follow || signal.aborted) return;
      if (untilNano !== undefined && BigInt(Date.now()) * 1_000_000n > untilNano) return;
      if (!reader.isCurrent()) {
        // What was written between the last look and the rotation, then whole files that came and went.
        yield* filter(reader.entries(), wanted, signal);
        const { current, rotated } = await rotatedSince(file, reader);
        reader.close();
        reader = current;
        yield* wholeFiles(rotated, wanted, signal);
        continue;
      }
      if (ended) return;
      await watch?.next();
    }
  } finally {
    reader.close();
    for (const old of opened.rotated) old.close();
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

async function* wholeFiles(
  files: readonly RotatedLog[],
  wanted: (entry: LogEntry) => boolean,
  signal: AbortSignal,
): AsyncGenerator<LogEntry[]> {
  try {
    for (const file of files) yield* filter(file.entries(), wanted, signal);
  } finally {
    for (const file of files) file.close();
  }
}

async function* filter(
  entries: Iterable<LogEntry[]> | AsyncIterable<LogEntry[]>,
  wanted: (entry: LogEntry) => boolean,
  signal: AbortSignal,
): AsyncGenerator<LogEntry[]> {
  for await (const some of entries) {
    if (signal.aborted) return;
    yield some.filter(wanted);
    // Who else is served by this process shall not wait for a whole log.
    await setImmediate();
  }
}
