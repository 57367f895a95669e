/** The part of a Bun socket that writing needs. */
interface RawSocket {
  write(data: Uint8Array): number;
}

/** Whole frames into a socket that may take only part of what it is given; `drained` is its `drain` callback. */
export class SocketWriter {
  readonly #socket: RawSocket;
  readonly #queue: Uint8Array[] = [];
  #waitingBytes = 0;

  constructor(socket: RawSocket) {
    this.#socket = socket;
  }

  /** Whether the socket has taken everything. */
  get isEmpty(): boolean {
    return this.#queue.length === 0;
  }

  /** How much the socket has not taken yet. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  write(data: Uint8Array): void {
    this.#waitingBytes += data.length;
    if (this.#queue.length > 0) {
      this.#queue.push(data);
      return;
    }
    const rest = this.#some(data);
    if (rest) this.#queue.push(rest);
  }

  drained(): void {
    for (let head = this.#queue[0]; head; head = this.#queue[0]) {
      const rest = this.#some(head);
      if (rest) {
        this.#queue[0] = rest;
        return;
      }
      this.#queue.shift();
    }
  }

  /** What the socket did not take. A closed socket takes nothing; its `close` callback tells the owner. */
  #some(data: Uint8Array): Uint8Array | undefined {
    const written = Math.max(0, this.#socket.write(data));
    this.#waitingBytes -= written;
    return written < data.length ? data.subarray(written) : undefined;
  }
}
