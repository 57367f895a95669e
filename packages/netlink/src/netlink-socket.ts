import { isErrno } from "@longshore/errors";
import {
  bind,
  boundAddress,
  close,
  fixedBuffer,
  receive,
  send,
  setsockopt,
  socket,
} from "@longshore/syscalls";

const AF_NETLINK = 16;
const SOCK_RAW = 3;
/** Of a `struct sockaddr_nl`: family, 2 bytes of padding, port id, groups. */
const ADDRESS_BYTES = 12;
const MSG_DONTWAIT = 0x40;
const SOL_SOCKET = 1;
const SO_SNDBUFFORCE = 32;
const SOL_NETLINK = 270;
const NETLINK_ADD_MEMBERSHIP = 1;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;

/** Longer messages may not fit what a socket may have on its way, which administrators set. */
const SURE_SEND_BYTES = 64 * 1024;
/** The kernel never builds a reply larger than 32 KiB for a buffer of this size. */
const RECEIVE_BYTES = 64 * 1024;
/** Of all sockets: what is received is read before the next call. */
let received: Buffer | undefined;

/**
 * A netlink socket of the network namespace it was opened in; it stays with that namespace wherever its thread goes.
 * Blocking: the kernel answers a request before `send` returns, or as `receive` is called.
 */
export class NetlinkSocket implements Disposable {
  /** By which the kernel, and others, know the socket. */
  readonly portId: number;
  #fd: number;
  #sendBytes = SURE_SEND_BYTES;

  /** @param protocol `NETLINK_ROUTE` is 0, see netlink(7) */
  constructor(protocol: number) {
    this.#fd = socket(AF_NETLINK, SOCK_RAW, protocol);
    // Errors carry the kernel's own words and not the request; dumps heed their filter.
    for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK])
      setsockopt(this.#fd, SOL_NETLINK, option, 1);
    // An address of zeros: the kernel chooses a port id.
    bind(this.#fd, Uint8Array.of(AF_NETLINK, ...new Uint8Array(ADDRESS_BYTES - 1)));
    const address = boundAddress(this.#fd, ADDRESS_BYTES);
    this.portId = Buffer.from(address.buffer, address.byteOffset, ADDRESS_BYTES).readUInt32LE(4);
  }

  get fd(): number {
    return this.#fd;
  }

  /** Receive what the kernel tells a group of listeners, unasked. */
  join(group: number): void {
    setsockopt(this.#fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group);
  }

  send(message: Uint8Array): void {
    if (message.byteLength > this.#sendBytes) {
      this.#sendBytes = message.byteLength;
      // Of what is set, the kernel counts its own overhead; it doubles what it is told for that.
      setsockopt(this.#fd, SOL_SOCKET, SO_SNDBUFFORCE, this.#sendBytes);
    }
    send(this.#fd, message);
  }

  /** The next datagram, one message or more; a view that the next call on any socket overwrites. */
  receive(): Uint8Array {
    received ??= fixedBuffer(RECEIVE_BYTES);
    return received.subarray(0, receive(this.#fd, received));
  }

  /** As `receive`; undefined, once, when answers were lost because the socket could not hold all. Then `drain` it. */
  receiveUnlessLost(): Uint8Array | undefined {
    try {
      return this.receive();
    } catch (error) {
      if (!isErrno(error, "ENOBUFS")) throw error;
      return undefined;
    }
  }

  /** Drop what waits to be received. Until then the kernel gives a socket that has lost answers no further ones. */
  drain(): void {
    received ??= fixedBuffer(RECEIVE_BYTES);
    try {
      for (;;) receive(this.#fd, received, MSG_DONTWAIT);
    } catch (error) {
      if (!isErrno(error, "EAGAIN")) throw error;
    }
  }

  [Symbol.dispose](): void {
    if (this.#fd < 0) return;
    close(this.#fd);
    this.#fd = -1;
  }
}
