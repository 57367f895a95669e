import {
  addressOf,
  check,
  F_GETFL,
  F_SETFL,
  F_SETOWN,
  fcntl,
  fixedBuffer,
  NR,
  O_ASYNC,
  O_NONBLOCK,
  syscall,
} from "@longshore/syscalls";
import { stir } from "../rest.ts";

/** Something that reads or writes without blocking, and wants to try again when the kernel says that it might work. */
export interface Watched {
  onReady(): void;
}

// Bun has no way to wait for a pipe without allocating per read; the kernel's SIGIO has. The signal does not say which
// descriptor it was, and comes once per change: all are tried until they would block.
const watched = new Set<Watched>();
let installed = false;

/**
 * Have `onReady` called whenever the descriptor may have become readable or writable. Sets O_NONBLOCK and O_ASYNC.
 * Never for a FIFO opened O_RDWR: each read would raise SIGIO for its other side.
 */
export function watch(fd: number, watcher: Watched): void {
  if (!installed) {
    // First: the default action of SIGIO is to end the process.
    process.on("SIGIO", signalled);
    installed = true;
  }
  watched.add(watcher);
  fcntl(fd, F_SETOWN, process.pid);
  signalWhenReady(fd, true);
}

/** Whether a watched descriptor raises signals; what has happened while it raised none has to be looked for. */
export function signalWhenReady(fd: number, signals: boolean): void {
  fcntl(fd, F_SETFL, (fcntl(fd, F_GETFL) & 0o2003) | O_NONBLOCK | (signals ? O_ASYNC : 0));
}

export function unwatch(watcher: Watched): void {
  watched.delete(watcher);
}

/** What came since this turn of the event loop began. */
let signals: "none" | "first" | "more" = "none";

/**
 * Signals come as they are raised, not once for all that is ready, and Bun hands on each: hundreds may wait at once. The first of a turn
 * of the event loop is answered at once, all others together in the next turn, behind whatever else waits by then.
 */
function signalled(): void {
  if (signals !== "none") {
    signals = "more";
    return;
  }
  signals = "first";
  setImmediate(() => {
    const missed = signals === "more";
    signals = "none";
    if (missed) signalled();
  });
  scan();
}

/** Try all watched descriptors now. */
export function scan(): void {
  stir();
  for (const watcher of watched) watcher.onReady();
}

/** One for all reading of the process: its bytes hold until the next read. */
const READ_BYTES = 65536;
let readBuffer: Buffer | undefined;
let readAddress = 0;

/** Bytes read, a view that holds until the next call; undefined when there are none yet; empty at the end (also a terminal's). */
export function readSome(fd: number): Buffer | undefined {
  if (!readBuffer) {
    readBuffer = fixedBuffer(READ_BYTES);
    readAddress = addressOf(readBuffer);
  }
  for (;;) {
    const n = syscall(NR.read, fd, readAddress, READ_BYTES);
    if (n >= 0) return readBuffer.subarray(0, n);
    if (n === -EAGAIN) return undefined;
    if (n === -EIO) return readBuffer.subarray(0, 0); // the last terminal side was closed
    if (n !== -EINTR) check(n, "read", String(fd));
  }
}

const WRITE_BYTES = 65536;
let writeBuffer: Buffer | undefined;
let writeAddress = 0;

/** How many bytes were taken without blocking, perhaps none; undefined when nobody can read them any more. */
export function writeSome(fd: number, bytes: Uint8Array): number | undefined {
  if (!writeBuffer) {
    writeBuffer = fixedBuffer(WRITE_BYTES);
    writeAddress = addressOf(writeBuffer);
  }
  for (let done = 0; done < bytes.length; ) {
    const part = bytes.subarray(done, done + WRITE_BYTES);
    // Copied, because a small typed array may move between taking its address and the call.
    writeBuffer.set(part);
    const n = syscall(NR.write, fd, writeAddress, part.length);
    if (n === -EAGAIN) return done;
    if (n === -EPIPE || n === -EIO) return undefined;
    if (n === -EINTR) continue;
    done += check(n, "write", String(fd));
    if (n < part.length) return done;
  }
  return bytes.length;
}

const EINTR = 4;
const EIO = 5;
const EAGAIN = 11;
const EPIPE = 32;
