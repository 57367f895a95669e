import fs from "node:fs";

const O_TMPFILE = 0o20200000;
const PEEK_BYTES = 65536;

/** Bytes in order, on disk, in a file that has no name and ends with the process. */
export class Spool {
  readonly #fd: number;
  #read = 0;
  #written = 0;

  /** @throws Errno when the directory's file system has no room or no unnamed files */
  constructor(directory: string) {
    this.#fd = fs.openSync(directory, fs.constants.O_RDWR | O_TMPFILE, 0o600);
  }

  /** How many wait. */
  get bytes(): number {
    return this.#written - this.#read;
  }

  /** False when the disk is full; then the spool is torn and must be given up. */
  add(bytes: Uint8Array): boolean {
    try {
      for (let done = 0; done < bytes.length; ) {
        const n = fs.writeSync(this.#fd, bytes, done, bytes.length - done, this.#written);
        done += n;
        this.#written += n;
      }
      return true;
    } catch {
      return false;
    }
  }

  /** The oldest bytes, at most 64 KiB. */
  peek(): Buffer {
    const bytes = Buffer.allocUnsafe(Math.min(PEEK_BYTES, this.bytes));
    return bytes.subarray(0, fs.readSync(this.#fd, bytes, 0, bytes.length, this.#read));
  }

  /** Forget the oldest bytes. */
  take(bytes: number): void {
    this.#read += bytes;
    if (this.#read < this.#written) return;
    fs.ftruncateSync(this.#fd);
    this.#read = 0;
    this.#written = 0;
  }

  close(): void {
    fs.closeSync(this.#fd);
  }
}
