import { type Pointer, toArrayBuffer } from "bun:ffi";
import { check, fixedBuffer, scratch, syscall } from "./call.ts";
import { O_CLOEXEC, O_NONBLOCK } from "./constants.ts";
import { close, pipe, read } from "./files.ts";
import * as NR from "./numbers.ts";

/**
 * A signal handler in x86-64 machine code, which writes the signal's number as one byte into a pipe. It may run on any thread of
 * the engine at any moment, which a function in JavaScript may not.
 *
 *     57               push rdi              ; the number
 *     bf 00 00 00 00   mov  edi, FD          ; put in at FD_AT
 *     48 89 e6         mov  rsi, rsp
 *     ba 01 00 00 00   mov  edx, 1
 *     b8 01 00 00 00   mov  eax, 1           ; write
 *     0f 05            syscall
 *     5f               pop  rdi
 *     c3               ret                   ; to the restorer
 *     b8 0f 00 00 00   mov  eax, 15          ; RESTORER: rt_sigreturn
 *     0f 05            syscall
 */
const HANDLER = "57bf000000004889e6ba01000000b8010000000f055fc3b80f0000000f05";
const FD_AT = 2;
const RESTORER_AT = 23;

const SA_RESTORER = 0x04000000;
const SA_ONSTACK = 0x08000000;
const SA_RESTART = 0x10000000;
/** struct sigaction of the kernel: handler, flags, restorer, mask, 8 bytes each. */
const ACTION_BYTES = 32;

/**
 * Signals as bytes of a pipe, so that a program which waits in poll(2) sees them beside everything else. They stay taken when it is
 * closed, and then have no effect: it is for programs that do nothing more after it than to end.
 */
export class SignalPipe implements Disposable {
  /** Readable when a signal came. */
  readonly fd: number;
  readonly #writeEnd: number;
  readonly #byte = fixedBuffer(1);
  #closed = false;

  constructor(signals: readonly number[]) {
    [this.fd, this.#writeEnd] = pipe(O_CLOEXEC | O_NONBLOCK);
    const code = Buffer.from(HANDLER, "hex");
    code.writeUInt32LE(this.#writeEnd, FD_AT);
    const page = check(syscall(NR.mmap, 0, 4096, 3, 0x22, -1, 0), "mmap"); // READ|WRITE, PRIVATE|ANONYMOUS
    new Uint8Array(toArrayBuffer(page as Pointer, 0, code.length)).set(code);
    check(syscall(NR.mprotect, page, 4096, 5), "mprotect"); // READ|EXEC
    const arena = scratch();
    const action = arena.room(ACTION_BYTES);
    arena.put64(action, page);
    arena.put64(action + 8, SA_RESTORER + SA_ONSTACK + SA_RESTART);
    arena.put64(action + 16, page + RESTORER_AT);
    const address = arena.base + action;
    for (let index = 0; index < signals.length; index++) {
      check(syscall(NR.rt_sigaction, signals[index], address, 0, 8), "rt_sigaction");
    }
  }

  /** The next signal that came, in the order of their coming; undefined when there is none. */
  next(): number | undefined {
    try {
      return read(this.fd, this.#byte) === 1 ? this.#byte[0] : undefined;
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "EAGAIN") return undefined;
      throw error;
    }
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    close(this.fd);
    // The writing end stays, for its number must not become another file's that the handler would write to.
  }
}

/** What poll(2) found out about a descriptor. */
export interface Ready {
  readable: boolean;
  writable: boolean;
  /** Nobody is at the other end any more, or the descriptor is no good. */
  ended: boolean;
}

export interface Poll {
  fd: number;
  /** 1: readable, 4: writable, and their sum. */
  events: number;
}

/** poll(2): what holds for each descriptor, in order; empty when interrupted by a signal. `timeoutMs` −1: wait for ever. */
export function poll(wanted: readonly Poll[], timeoutMs: number): Ready[] {
  const arena = scratch();
  const at = arena.room(8 * Math.max(1, wanted.length));
  for (let index = 0; index < wanted.length; index++) {
    arena.bytes.writeInt32LE(wanted[index]?.fd ?? -1, at + 8 * index);
    arena.bytes.writeInt16LE(wanted[index]?.events ?? 0, at + 8 * index + 4);
  }
  const count = syscall(NR.poll, arena.base + at, wanted.length, timeoutMs);
  if (count === -4) return [];
  check(count, "poll");
  return wanted.map((_, index) => {
    const bits = arena.bytes.readInt16LE(at + 8 * index + 6);
    return { readable: (bits & 1) !== 0, writable: (bits & 4) !== 0, ended: (bits & 0x38) !== 0 };
  });
}
