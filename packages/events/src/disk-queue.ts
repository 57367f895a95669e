import { isErrno } from "@longshore/errors";
// node:fs would cost a shim half a megabyte just when NATS is away, and it may be for long.
import {
  addressOf,
  check,
  Fd,
  fixedBuffer,
  O_APPEND,
  O_CLOEXEC,
  O_CREAT,
  O_WRONLY,
  openFile,
  stat,
  syscall,
  unlink,
  writeAll,
} from "@longshore/syscalls";
import type { OutgoingEvent } from "./envelope.ts";

const NEWLINE = 10;
const NR_PREAD64 = 17;
const NR_FTRUNCATE = 77;

export interface DiskQueueOptions {
  /** The file; its directory must exist. */
  path: string;
  /** How large the file may grow. Exits have eight times as much: their loss would be felt longest. */
  limitBytes: number;
}

/**
 * Events that wait for NATS, in order, in a file of JSON lines that outlives the process. A batch is taken with `peek`
 * and given up with `drop` once it was delivered; after a crash between the two it is delivered again, and NATS knows it
 * by its id.
 */
export class DiskQueue {
  readonly #path: string;
  readonly #limitBytes: number;
  #offset = 0;
  #size: number;
  /** Events that were refused because the file was full. */
  dropped = 0;

  constructor({ path, limitBytes }: DiskQueueOptions) {
    this.#path = path;
    this.#limitBytes = limitBytes;
    this.#size = sizeOf(path);
    this.#endLastLine();
  }

  get isEmpty(): boolean {
    return this.#offset >= this.#size;
  }

  /** Add an event; false when there is no room for it. */
  push(event: OutgoingEvent): boolean {
    this.#look();
    const line = Buffer.from(`${JSON.stringify(event)}\n`);
    const limit = event.payload.includes('"topic":"/tasks/exit"') ? this.#limitBytes * 8 : this.#limitBytes;
    if (this.#size + line.length > limit) {
      this.dropped++;
      return false;
    }
    using file = new Fd(openFile(this.#path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o600));
    try {
      writeAll(file.number, line);
    } catch (error) {
      // The disk is full: half an event would spoil the next one.
      syscall(NR_FTRUNCATE, file.number, this.#size);
      throw error;
    }
    this.#size += line.length;
    return true;
  }

  /** The oldest events, at most 64 KiB of them (or one), and the bytes that they take in the file. */
  peek(): { events: OutgoingEvent[]; bytes: number } {
    this.#look();
    if (this.isEmpty) return { events: [], bytes: 0 };
    let length = Math.min(65536, this.#size - this.#offset);
    let chunk = this.#read(length);
    while (!chunk.includes(10) && this.#offset + length < this.#size) {
      length = Math.min(length * 4, this.#size - this.#offset);
      chunk = this.#read(length);
    }
    const end = chunk.lastIndexOf(10) + 1;
    const events = chunk.subarray(0, end).toString().split("\n").filter(Boolean).flatMap(parse);
    // A last line without its end was torn by a crash: there is nothing after it, and nothing in it.
    return { events, bytes: end || chunk.length };
  }

  /** Forget the first bytes of the file, as `peek` counted them. */
  drop(bytes: number): void {
    this.#offset += bytes;
    if (!this.isEmpty) return;
    removeIfThere(this.#path);
    this.#offset = 0;
    this.#size = 0;
  }

  /** Somebody else may have taken the file over: then what was in it is theirs to deliver. */
  #look(): void {
    const size = sizeOf(this.#path);
    if (size >= this.#size) return;
    this.#size = size;
    this.#offset = 0;
  }

  /** What a crash tore must not take the next event with it. */
  #endLastLine(): void {
    if (this.#size === 0 || this.#read(1, this.#size - 1)[0] === NEWLINE) return;
    using file = new Fd(openFile(this.#path, O_WRONLY | O_APPEND | O_CLOEXEC));
    writeAll(file.number, Buffer.from("\n"));
    this.#size++;
  }

  #read(length: number, offset = this.#offset): Buffer {
    using file = new Fd(openFile(this.#path, O_CLOEXEC));
    const chunk = fixedBuffer(length);
    const n = syscall(NR_PREAD64, file.number, addressOf(chunk), length, offset);
    return chunk.subarray(0, check(n, "pread", this.#path));
  }
}

function sizeOf(path: string): number {
  try {
    return stat(path).size;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return 0;
    throw error;
  }
}

function removeIfThere(path: string): void {
  try {
    unlink(path);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}

function parse(line: string): OutgoingEvent[] {
  try {
    return [JSON.parse(line) as OutgoingEvent];
  } catch {
    return []; // torn by a crash in the middle of an append
  }
}
