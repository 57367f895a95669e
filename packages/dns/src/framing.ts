/** The largest frame, and what stands before each: its length in two bytes (RFC 1035, 4.2.2). */
const LENGTH_BYTES = 2;

/**
 * Takes the messages out of a TCP connection's stream. It holds one incomplete message at most, less than 64 KiB, unless the
 * caller leaves the loop over them: then the others come with the next call.
 */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  /** Keep bytes for the next call of `push`. */
  hold(bytes: Uint8Array): void {
    this.#rest = Buffer.concat([this.#rest, bytes]);
  }

  /** The messages that are complete with these bytes, of which it keeps no view; they are valid until the next call. */
  *push(bytes: Uint8Array): Generator<Buffer> {
    const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const all = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    let at = 0;
    try {
      while (at + LENGTH_BYTES <= all.length) {
        const start = at + LENGTH_BYTES;
        const end = start + all.readUInt16BE(at);
        if (end > all.length) break;
        at = end;
        yield all.subarray(start, end);
      }
    } finally {
      this.#rest = Buffer.from(all.subarray(at));
    }
  }
}

export function frame(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(LENGTH_BYTES + message.length);
  framed.writeUInt16BE(message.length, 0);
  framed.set(message, LENGTH_BYTES);
  return framed;
}
