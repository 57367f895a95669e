import fs from "node:fs";
import { Errno } from "@longshore/errors";

const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = fs.constants;
const READ_BYTES = 65536;

/**
 * Files of a daemon that it mounts in containers: their names are the daemon's, but a container may write what it likes in
 * them, make them as large as it likes, and hold leases on them. No call waits for a container.
 */

/**
 * The content of a regular file.
 * @returns undefined when it is larger than the limit
 * @throws Errno `ENOENT`; `EAGAIN` when a process holds a write lease on it; `EINVAL` when it is no regular file
 */
export function readRegularFile(file: string, limitBytes: number): Buffer | undefined {
  const fd = openRegular(file, O_RDONLY);
  try {
    return readLimited(fd, limitBytes);
  } finally {
    fs.closeSync(fd);
  }
}

interface WriteOptions {
  /** Make the file when it is missing. */
  make: boolean;
  /** undefined: as it is */
  owner?: { uid: number; gid: number };
}

/**
 * Write a file in place.
 * @throws Errno `EAGAIN` when a process holds a lease on it; `EINVAL` when it is no regular file; `ENOENT`
 */
export function writeRegularFile(file: string, text: string, { make, owner }: WriteOptions): void {
  const fd = openRegular(file, O_WRONLY | (make ? O_CREAT : 0));
  try {
    fs.ftruncateSync(fd, 0);
    writeAll(fd, text);
    if (owner) fs.fchownSync(fd, owner.uid, owner.gid);
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * Write at the end of an existing file.
 * @throws Errno as {@link writeRegularFile}
 */
export function appendRegularFile(file: string, text: string): void {
  const fd = openRegular(file, O_WRONLY | O_APPEND);
  try {
    writeAll(fd, text);
  } finally {
    fs.closeSync(fd);
  }
}

/** All that is left in an open file; undefined when that is more than the limit. */
export function readLimited(fd: number, limitBytes: number): Buffer | undefined {
  const pieces: Buffer[] = [];
  let length = 0;
  if (fs.fstatSync(fd).size > limitBytes) return undefined;
  for (;;) {
    // One byte more than allowed shows that there is more.
    const piece = Buffer.allocUnsafe(Math.min(limitBytes + 1 - length, READ_BYTES));
    const n = fs.readSync(fd, piece, 0, piece.length, null);
    if (n === 0) return Buffer.concat(pieces, length);
    length += n;
    if (length > limitBytes) return undefined;
    pieces.push(piece.subarray(0, n));
  }
}

function openRegular(file: string, flags: number): number {
  // A device is not in a directory that only the daemon writes in; a FIFO would block without O_NONBLOCK.
  const fd = fs.openSync(file, flags | O_NOFOLLOW | O_NONBLOCK, 0o644);
  if (fs.fstatSync(fd).isFile()) return fd;
  fs.closeSync(fd);
  throw new Errno("EINVAL", 22, "open", file);
}

function writeAll(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) at += fs.writeSync(fd, bytes, at);
}
