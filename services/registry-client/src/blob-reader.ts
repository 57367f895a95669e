import { EngineError, errorCode } from "@longshore/errors";
import { AsyncQueue } from "./async-queue.ts";
import type { BlobAnswer } from "./registry/repository.ts";

/** Ask for a blob's bytes from an offset on, or for a part of it. */
export type OpenBlob = (
  range: { offset: number; end?: number | undefined },
  signal: AbortSignal,
) => Promise<BlobAnswer>;

export interface ReadOptions {
  offset: number;
  size: number;
  /** A further connection, given back when it has ended; undefined when there may be no more. */
  extra: () => Disposable | undefined;
  /** Of a range, in all; left out, or more than a few: a few. */
  attempts?: number | undefined;
  signal: AbortSignal;
}

export interface ReaderLimits {
  /** What one request of several gets; as much of each is held in memory until its turn. */
  partBytes: number;
  /** Connections for one blob. */
  parts: number;
  /** A connection is watched for so long, */
  watchMs: number;
  /** and when it brings less than this, others are opened beside it. */
  bytesPerSecond: number;
}

const LIMITS: ReaderLimits = {
  partBytes: 4 << 20,
  parts: 4,
  watchMs: 1000,
  bytesPerSecond: 30_000_000,
};
const PART_ATTEMPTS = 3;

/**
 * The bytes of a blob from an offset on, in order. One connection does where it is quick; where it is slow and much is left, several
 * ranges are fetched at once.
 *
 * @throws EngineError `unavailable` when a connection breaks: what came before is good; `data_loss` for more bytes than the blob has
 */
export async function* readBlob(
  open: OpenBlob,
  { offset, size, extra, attempts, signal }: ReadOptions,
  limits: ReaderLimits = LIMITS,
): AsyncGenerator<Uint8Array> {
  const { start, ranges, body } = await open({ offset }, signal);
  const started = performance.now();
  let skip = offset - start;
  let at = offset;
  for await (const piece of body) {
    const skipped = Math.min(skip, piece.length);
    skip -= skipped;
    const fresh = piece.subarray(skipped);
    if (at + fresh.length > size) throw tooLong(size);
    at += fresh.length;
    yield fresh;
    const ms = performance.now() - started;
    const isSlow = ms >= limits.watchMs && (at - offset) / (ms / 1000) < limits.bytesPerSecond;
    if (ranges && isSlow && size - at > 2 * limits.partBytes) {
      yield* readParts(open, { offset: at, size, extra, attempts, signal }, limits);
      return;
    }
  }
  if (at < size) throw new EngineError("unavailable", `unexpected EOF after ${at} of ${size} bytes`);
}

/** One range under way. */
interface Part {
  readonly pieces: AsyncQueue<Uint8Array>;
  readonly slot: Disposable | undefined;
  readonly done: Promise<void>;
}

async function* readParts(
  open: OpenBlob,
  { offset, size, extra, attempts = PART_ATTEMPTS, signal }: ReadOptions,
  { partBytes, parts: most }: ReaderLimits,
): AsyncGenerator<Uint8Array> {
  const abort = new AbortController();
  const both = AbortSignal.any([signal, abort.signal]);
  const parts: Part[] = [];
  let next = offset;
  const begin = (slot: Disposable | undefined) => {
    const end = Math.min(size, next + partBytes);
    const pieces = new AsyncQueue<Uint8Array>();
    const done = fetchPart(
      open,
      { offset: next, end, attempts: Math.min(attempts, PART_ATTEMPTS) },
      pieces,
      both,
    ).then(
      () => pieces.end(),
      (error: unknown) => pieces.end(error),
    );
    parts.push({ pieces, slot, done });
    next = end;
  };
  try {
    while (next < size || parts.length > 0) {
      if (parts.length === 0) begin(undefined);
      while (next < size && parts.length < most) {
        const slot = extra();
        if (!slot) break;
        begin(slot);
      }
      const [head] = parts;
      if (head) yield* head.pieces;
      parts.shift();
      head?.slot?.[Symbol.dispose]();
    }
  } finally {
    abort.abort();
    for (const { slot, done } of parts) {
      slot?.[Symbol.dispose]();
      await done;
    }
  }
}

/** A range with a few attempts of its own, so that one bad connection doesn't throw away what the others have. */
async function fetchPart(
  open: OpenBlob,
  { offset, end, attempts }: { offset: number; end: number; attempts: number },
  pieces: AsyncQueue<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  let at = offset;
  for (let attempt = 1; ; attempt += 1) {
    try {
      const answer = await open({ offset: at, end }, signal);
      if (answer.start !== at || !answer.ranges) {
        throw new EngineError("unavailable", "the registry answers a range with something else");
      }
      for await (const piece of answer.body) {
        if (at + piece.length > end) throw tooLong(end);
        at += piece.length;
        pieces.push(piece);
      }
      if (at === end) return;
      throw new EngineError("unavailable", `unexpected EOF after ${at} of ${end} bytes`);
    } catch (error) {
      signal.throwIfAborted();
      if (errorCode(error) !== "unavailable" || attempt >= attempts) throw error;
    }
  }
}

function tooLong(size: number): EngineError {
  return new EngineError("data_loss", `longer than the ${size} bytes that its manifest says`);
}
