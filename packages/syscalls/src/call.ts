import { dlopen, FFIType, ptr, read } from "bun:ffi";
import { Errno } from "@longshore/errors";
import { errnoName } from "./errno-table.ts";

// Only two symbols of libc are bound: binding costs about 0.1 ms each, and the raw system call has the kernel's own
// meaning (setresuid changes this thread alone, clone runs no atfork handlers).
function bind() {
  const { i64, i64_fast, ptr: pointer } = FFIType;
  const { symbols } = dlopen("libc.so.6", {
    syscall: { args: [i64, i64, i64, i64, i64, i64, i64], returns: i64_fast },
    __errno_location: { args: [], returns: pointer },
  });
  const errno = symbols.__errno_location();
  if (errno === null) throw new Error("libc has no errno");
  return { syscall: symbols.syscall, errno };
}

let libc: ReturnType<typeof bind> | undefined;

/**
 * Make a system call; the result is the kernel's own: negative is minus the error's number.
 * Addresses come from {@link Arena} or {@link addressOf}. Values beyond 2^53 don't come back exactly.
 */
export function syscall(nr: number, a = 0, b = 0, c = 0, d = 0, e = 0, f = 0): number {
  libc ??= bind();
  const result = libc.syscall(nr, a, b, c, d, e, f);
  // Read at once: nothing says that the engine's own system calls leave it alone.
  return result === -1 ? -read.i32(libc.errno, 0) : Number(result);
}

/** The result of {@link syscall}, or an {@link Errno} naming the call and what it was about. */
export function check(result: number, name: string, detail = ""): number {
  if (result < 0) throw new Errno(errnoName(-result), -result, name, detail);
  return result;
}

/**
 * The address of a buffer that C keeps or that is used in more than one call. Only buffers of more than 1000 bytes, or
 * made over their own ArrayBuffer, stay where they are; the caller must keep the buffer alive as long as the address is used.
 */
export function addressOf(bytes: Uint8Array): number {
  return bytes.byteLength === 0 ? 0 : ptr(bytes);
}

/** A buffer whose address never changes. */
export function fixedBuffer(bytes: number): Buffer {
  return Buffer.from(new ArrayBuffer(bytes));
}

/** Memory for what calls point at: strings and structures at addresses that hold until `reset`. */
export class Arena {
  readonly bytes: Buffer;
  readonly base: number;
  readonly #words: Uint32Array;
  #used = 0;

  /** @param base the address that the bytes will have where they are used, when that isn't here */
  constructor(size: number, base?: number) {
    this.bytes = fixedBuffer((size + 3) & ~3);
    this.#words = new Uint32Array(this.bytes.buffer);
    this.base = base ?? ptr(this.bytes);
  }

  /** How many bytes have been given out. */
  get used(): number {
    return this.#used;
  }

  /** Forget everything, so that the memory is used again. */
  reset(): this {
    this.#used = 0;
    return this;
  }

  /** Room for a structure, aligned to 16 and zeroed; returns its offset in `bytes` (address: `base + offset`). */
  room(size: number): number {
    const at = (this.#used + 15) & ~15;
    if (at + size > this.bytes.length) throw new Errno("ENAMETOOLONG", 36, "arena", `${size} bytes`);
    this.#used = at + size;
    this.bytes.fill(0, at, at + size);
    return at;
  }

  /** Write a 64-bit integer at an offset that is a multiple of 4; many times quicker than by BigInt. */
  put64(at: number, value: number): void {
    const words = this.#words;
    words[at >> 2] = value >>> 0;
    words[(at >> 2) + 1] = Math.floor(value / 0x100000000) >>> 0;
  }

  /** Address of a NUL-terminated copy. A NUL inside would cut a path short, so it is refused as the kernel would: EINVAL. */
  string(text: string): number {
    if (text.includes("\0")) throw new Errno("EINVAL", 22, "string", JSON.stringify(text));
    const at = this.#used;
    // No UTF-16 unit takes more than three bytes.
    if (at + 3 * text.length >= this.bytes.length && at + Buffer.byteLength(text) >= this.bytes.length) {
      throw new Errno("ENAMETOOLONG", 36, "string", `of ${text.length} characters`);
    }
    const written = this.bytes.write(text, at);
    this.bytes[at + written] = 0;
    this.#used += written + 1;
    return this.base + at;
  }

  /** Address of a copy of bytes. */
  copy(bytes: Uint8Array): number {
    const at = this.room(bytes.length);
    this.bytes.set(bytes, at);
    return this.base + at;
  }

  /** Address of a NULL-terminated table of string addresses, as execve takes. */
  vector(texts: readonly string[]): number {
    const addresses = texts.map((text) => this.string(text));
    const at = this.room(8 * (texts.length + 1));
    for (const [index, address] of addresses.entries()) this.put64(at + 8 * index, address);
    return this.base + at;
  }
}

let shared: Arena | undefined;

/**
 * The arena of the wrappers in this package, emptied by each of them: nothing in it outlives one call. 64 KiB, of which only
 * touched pages count.
 */
export function scratch(): Arena {
  shared ??= new Arena(65536);
  return shared.reset();
}
