/** Docker's numbers of the streams in a multiplexed connection. */
export const STDIN = 0;
export const STDOUT = 1;
export const STDERR = 2;

/** stream u8, three zero bytes, payload length u32 BE. */
export const FRAME_HEADER_BYTES = 8;

/** A frame's header; the payload follows it on the wire. */
export function frameHeader(stream: number, payloadBytes: number): Buffer {
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  header[0] = stream;
  header.writeUInt32BE(payloadBytes, 4);
  return header;
}

/** Header and payload in one. An empty frame on STDIN means that nothing more will come. */
export function encodeFrame(stream: number, payload: Uint8Array): Buffer {
  return Buffer.concat([frameHeader(stream, payload.length), payload]);
}

export interface FrameHandlers {
  /** Some of a frame's payload, as it arrives; a view of the pushed chunk. */
  data(stream: number, piece: Uint8Array): void;
  /** A frame without payload. */
  empty(stream: number): void;
}

/** Takes a byte stream of frames apart without keeping payloads. */
export class StdioFrameDecoder {
  readonly #handlers: FrameHandlers;
  readonly #header = Buffer.alloc(FRAME_HEADER_BYTES);
  #headerBytes = 0;
  #left = 0;

  constructor(handlers: FrameHandlers) {
    this.#handlers = handlers;
  }

  push(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length; ) {
      if (this.#left === 0) {
        at += this.#fillHeader(chunk.subarray(at));
        continue;
      }
      const piece = chunk.subarray(at, at + this.#left);
      this.#left -= piece.length;
      at += piece.length;
      this.#handlers.data(this.#header.readUInt8(0), piece);
    }
  }

  #fillHeader(chunk: Uint8Array): number {
    const part = chunk.subarray(0, FRAME_HEADER_BYTES - this.#headerBytes);
    this.#header.set(part, this.#headerBytes);
    this.#headerBytes += part.length;
    if (this.#headerBytes < FRAME_HEADER_BYTES) return part.length;
    this.#headerBytes = 0;
    this.#left = this.#header.readUInt32BE(4);
    if (this.#left === 0) this.#handlers.empty(this.#header.readUInt8(0));
    return part.length;
  }
}
