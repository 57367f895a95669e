import { close, fixedBuffer, receive, send, setsockopt, socket } from "@longshore/syscalls";

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;

/** The kernel never builds a reply larger than 32 KiB for a buffer of this size. */
const RECEIVE_BYTES = 64 * 1024;
/** Of all sockets: what is received is read before the next call. */
let received: Buffer | undefined;

/**
 * A netlink socket of the network namespace it was opened in; it stays with that namespace wherever its thread goes.
 * Blocking: the kernel answers a request before `send` returns, or as `receive` is called.
 */
export class NetlinkSocket implements Disposable {
  #fd: number;

  /** @param protocol `NETLINK_ROUTE` is 0, see netlink(7) */
  constructor(protocol: number) {
    this.#fd = socket(AF_NETLINK, SOCK_RAW, protocol);
    // Errors carry the kernel's own words and not the request; dumps heed their filter.
    for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK])
      setsockopt(this.#fd, SOL_NETLINK, option, 1);
  }

  send(message: Uint8Array): void {
    send(this.#fd, message);
  }

  /** The next datagram, one message or more; a view that the next call on any socket overwrites. */
  receive(): Uint8Array {
    received ??= fixedBuffer(RECEIVE_BYTES);
    return received.subarray(0, receive(this.#fd, received));
  }

  [Symbol.dispose](): void {
    if (this.#fd < 0) return;
    close(this.#fd);
    this.#fd = -1;
  }
}
