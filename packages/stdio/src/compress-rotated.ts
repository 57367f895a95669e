import fs from "node:fs";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { isErrno } from "@longshore/errors";
import { linkFd, utimensat } from "@longshore/syscalls";
import { removeIfThere, rotatedFile, uncompressed, withNames } from "./rotated-files.ts";

const O_TMPFILE = 0o20200000;
const CHUNK_BYTES = 256 << 10;

/**
 * Compress a log's rotated files until none is left that isn't: `FILE.1` becomes `FILE.1.gz`, or has another number by then. What is
 * compressed has no name before it is whole, so that being killed leaves nothing behind, and the next call starts over.
 */
export async function compressRotated(log: string, maxFiles: number): Promise<void> {
  try {
    for (let file = uncompressed(log, maxFiles); file !== undefined; file = uncompressed(log, maxFiles)) {
      await compressOne(log, maxFiles, file);
    }
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error; // removed with its container
  }
}

async function compressOne(log: string, maxFiles: number, file: string): Promise<void> {
  const source = openIfThere(file);
  if (source === undefined) return; // it has another number now
  let target: number | undefined;
  try {
    target = fs.openSync(path.dirname(log), fs.constants.O_RDWR | O_TMPFILE, 0o640);
    const whole = fs.fstatSync(source, { bigint: true });
    await pipeline(
      fs.createReadStream("", { fd: source, autoClose: false, highWaterMark: CHUNK_BYTES }),
      createGzip({ chunkSize: CHUNK_BYTES }),
      fs.createWriteStream("", { fd: target, autoClose: false }),
    );
    // By its time a reader that had the file open finds it again.
    utimensat(`/proc/self/fd/${target}`, { atimeNs: whole.atimeNs, mtimeNs: whole.mtimeNs });
    const compressed = target;
    while (withNames(log, () => replace(log, maxFiles, whole.ino, compressed) ?? true) === undefined) {
      await Bun.sleep(1);
    }
  } finally {
    fs.closeSync(source);
    if (target !== undefined) fs.closeSync(target);
  }
}

/** Put the compressed file in the place of the one that it was made from, unless that has been dropped meanwhile. */
function replace(log: string, maxFiles: number, inode: bigint, compressed: number): void {
  for (let n = 1; n < maxFiles; n++) {
    const file = rotatedFile(log, n);
    if (fs.statSync(file, { bigint: true, throwIfNoEntry: false })?.ino !== inode) continue;
    removeIfThere(`${file}.gz`);
    linkFd(compressed, `${file}.gz`);
    removeIfThere(file);
    return;
  }
}

function openIfThere(file: string): number | undefined {
  try {
    return fs.openSync(file, "r");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}
