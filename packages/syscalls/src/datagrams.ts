import { addressOf, check, syscall } from "./call.ts";
import { EINTR, MSG_DONTWAIT, MSG_NOSIGNAL } from "./constants.ts";
import * as NR from "./numbers.ts";

const EAGAIN = 11;
/** struct mmsghdr: name 0, namelen 8, iov 16, iovlen 24, control 32, controllen 40, flags 48, and the message's length 56. */
const HEADER_BYTES = 64;
const IOVEC_BYTES = 16;
/** A sockaddr_in6 has 28. */
const NAME_BYTES = 32;
const NONE: readonly number[] = [];

export interface DatagramsOptions {
  /** How many messages at a time. */
  readonly count: number;
  /** Room for each; a multiple of 4. */
  readonly size: number;
  /** The sockets have a peer, to which all goes that is sent. */
  readonly connected?: boolean;
}

/**
 * Datagrams that are received and sent many at a time (recvmmsg(2), sendmmsg(2)), without an object for any of them. The message at
 * `place` lies at `place * size` of `bytes`, where it may be overwritten with what is to be sent to where it came from.
 */
export class Datagrams {
  readonly count: number;
  readonly size: number;
  readonly bytes: Uint8Array;
  /** The same memory, in the processor's order. */
  readonly words: Uint32Array;
  /** Where messages came from, as struct sockaddr, eight words for each. */
  readonly peers: Uint32Array;
  readonly #received: Uint32Array;
  readonly #sent: Uint32Array;
  readonly #sentParts: Uint32Array;
  readonly #receivedAt: number;
  readonly #sentAt: number;
  /** Of what is queued. */
  readonly #places: Uint32Array;
  #queued = 0;

  constructor({ count, size, connected = false }: DatagramsOptions) {
    this.count = count;
    this.size = size;
    this.#places = new Uint32Array(count);
    const headers = count * HEADER_BYTES;
    const parts = count * IOVEC_BYTES;
    const names = count * NAME_BYTES;
    const memory = new ArrayBuffer(2 * headers + 2 * parts + names + count * size);
    const base = addressOf(new Uint8Array(memory));
    let used = 0;
    const room = (length: number): Uint32Array => {
      used += length;
      return new Uint32Array(memory, used - length, length / 4);
    };
    this.#received = room(headers);
    this.#sent = room(headers);
    const receivedParts = room(parts);
    this.#sentParts = room(parts);
    this.peers = room(names);
    this.words = room(count * size);
    this.bytes = new Uint8Array(memory, this.words.byteOffset, count * size);
    this.#receivedAt = base + this.#received.byteOffset;
    this.#sentAt = base + this.#sent.byteOffset;
    for (let place = 0; place < count; place++) {
      const message = base + this.words.byteOffset + place * size;
      const name = base + this.peers.byteOffset + place * NAME_BYTES;
      for (const [vector, lists] of [
        [this.#received, receivedParts],
        [this.#sent, this.#sentParts],
      ] as const) {
        const at = (place * HEADER_BYTES) / 4;
        if (!connected) put64(vector, at, name);
        put64(vector, at + 4, base + lists.byteOffset + place * IOVEC_BYTES);
        put64(vector, at + 6, 1);
        put64(lists, (place * IOVEC_BYTES) / 4, message);
        put64(lists, (place * IOVEC_BYTES) / 4 + 2, size);
      }
    }
  }

  /** Take what has come, without waiting; 0 when that is nothing. @throws Errno, also for what an earlier send met with */
  receive(fd: number): number {
    const { count } = this;
    for (let at = 2; at < 16 * count; at += 16) this.#received[at] = NAME_BYTES;
    for (;;) {
      const came = syscall(NR.recvmmsg, fd, this.#receivedAt, count, MSG_DONTWAIT, 0);
      if (came === -EAGAIN) return 0;
      if (came !== -EINTR) return check(came, "recvmmsg");
    }
  }

  /** Of the message that came to a place: no more than there is room for. */
  lengthAt(place: number): number {
    return this.#received[16 * place + 14] ?? 0;
  }

  get #firstMessage(): number {
    return this.#receivedAt - this.#received.byteOffset + this.words.byteOffset;
  }

  /** Let the first bytes at a place be sent with the next `send`, to where the message there came from. */
  queue(place: number, length: number): void {
    const header = 16 * this.#queued;
    const from = 16 * place;
    const message = this.#firstMessage + place * this.size;
    this.#sent[header] = this.#received[from] ?? 0;
    this.#sent[header + 1] = this.#received[from + 1] ?? 0;
    this.#sent[header + 2] = this.#received[from + 2] ?? 0;
    const part = 4 * this.#queued;
    put64(this.#sentParts, part, message);
    this.#sentParts[part + 2] = length;
    this.#places[this.#queued++] = place;
  }

  /**
   * Send what is queued, as much as the kernel takes without waiting. What can't be sent at all holds up no other and counts as gone.
   * @returns the places of those that it didn't take, in their order; mostly none
   */
  send(fd: number): readonly number[] {
    const queued = this.#queued;
    this.#queued = 0;
    for (let first = 0; first < queued; ) {
      const address = this.#sentAt + first * HEADER_BYTES;
      const count = syscall(NR.sendmmsg, fd, address, queued - first, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (count === -EINTR) continue;
      if (count === -EAGAIN) return [...this.#places.subarray(first, queued)];
      // When none goes out the first is to blame.
      first += Math.max(1, count);
    }
    return NONE;
  }
}

function put64(words: Uint32Array, at: number, value: number): void {
  words[at] = value >>> 0;
  words[at + 1] = Math.floor(value / 0x1_0000_0000);
}
