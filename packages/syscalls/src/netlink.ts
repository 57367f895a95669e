import { dlopen, FFIType, read } from "bun:ffi";
import { Errno } from "@longshore/errors";
import { errnoCode } from "./errno-code.ts";

export { errnoCode } from "./errno-code.ts";

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
const EINTR = 4;

/** The kernel never builds a reply larger than 32 KiB for a buffer of this size. */
const RECEIVE_BYTES = 64 * 1024;

const open = () =>
  dlopen("libc.so.6", {
    socket: { args: [FFIType.i32, FFIType.i32, FFIType.i32], returns: FFIType.i32 },
    setsockopt: {
      args: [FFIType.i32, FFIType.i32, FFIType.i32, FFIType.ptr, FFIType.u32],
      returns: FFIType.i32,
    },
    send: { args: [FFIType.i32, FFIType.ptr, FFIType.u64, FFIType.i32], returns: FFIType.i64_fast },
    recv: { args: [FFIType.i32, FFIType.ptr, FFIType.u64, FFIType.i32], returns: FFIType.i64_fast },
    close: { args: [FFIType.i32], returns: FFIType.i32 },
    __errno_location: { args: [], returns: FFIType.ptr },
  }).symbols;

let symbols: ReturnType<typeof open> | undefined;
const libc = (): ReturnType<typeof open> => {
  symbols ??= open();
  return symbols;
};

function lastErrno(): number {
  const location = libc().__errno_location();
  if (location === null) throw new Error("__errno_location returned null");
  return read.i32(location, 0);
}

function failed(syscall: string, errno: number): Errno {
  return new Errno(errnoCode(errno), errno, syscall);
}

/**
 * A netlink socket of the network namespace it was opened in; it stays with that namespace wherever its thread goes.
 * Blocking: the kernel answers a request before `send` returns, or as `receive` is called.
 */
export class NetlinkSocket implements Disposable {
  readonly #received = new Uint8Array(new ArrayBuffer(RECEIVE_BYTES));
  #fd: number;

  /** @param protocol `NETLINK_ROUTE` is 0, see netlink(7) */
  constructor(protocol: number) {
    this.#fd = libc().socket(AF_NETLINK, SOCK_RAW_CLOEXEC, protocol);
    if (this.#fd < 0) throw failed("socket(AF_NETLINK)", lastErrno());
    const on = new Int32Array(new ArrayBuffer(4));
    on[0] = 1;
    // Errors carry the kernel's own words and not the request; dumps heed their filter.
    for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK])
      libc().setsockopt(this.#fd, SOL_NETLINK, option, on, 4);
  }

  send(message: Uint8Array): void {
    for (;;) {
      if (libc().send(this.#open(), message, message.byteLength, 0) >= 0) return;
      const errno = lastErrno();
      if (errno !== EINTR) throw failed("send(netlink)", errno);
    }
  }

  /** The next datagram, one message or more; a view that the next call overwrites. */
  receive(): Uint8Array {
    for (;;) {
      const length = Number(libc().recv(this.#open(), this.#received, RECEIVE_BYTES, 0));
      if (length >= 0) return this.#received.subarray(0, length);
      const errno = lastErrno();
      if (errno !== EINTR) throw failed("recv(netlink)", errno);
    }
  }

  [Symbol.dispose](): void {
    if (this.#fd < 0) return;
    libc().close(this.#fd);
    this.#fd = -1;
  }

  #open(): number {
    if (this.#fd < 0) throw new Error("netlink socket is closed");
    return this.#fd;
  }
}
