import { EngineError } from "@longshore/errors";

/** Kinds of frames, as ttrpc numbers them (`PROTOCOL.md` of containerd/ttrpc). */
export const FrameType = { request: 1, response: 2, data: 3 } as const;

/** Bits of the flags byte. */
export const FrameFlag = { remoteClosed: 1, remoteOpen: 2, noData: 4 } as const;

/** Bytes before the body: length u32 BE, stream id u32 BE, type u8, flags u8. */
export const HEADER_BYTES = 10;

/** The longest body that ttrpc allows. */
export const MAX_BODY_BYTES = 4 << 20;

/** What may wait for a peer that doesn't read, and what its calls under way may hold. */
export const MAX_HELD_BYTES = 16 * MAX_BODY_BYTES;

export interface Frame {
  streamId: number;
  type: number;
  flags: number;
  body: Buffer;
}

/**
 * One frame as it goes over the wire.
 *
 * @throws EngineError `resource_exhausted` for a body of more than 4 MiB
 */
export function encodeFrame(streamId: number, type: number, body: Uint8Array, flags = 0): Buffer {
  if (body.length > MAX_BODY_BYTES) throw tooLong(body.length);
  const frame = Buffer.allocUnsafe(HEADER_BYTES + body.length);
  frame.writeUInt32BE(body.length, 0);
  frame.writeUInt32BE(streamId, 4);
  frame[8] = type;
  frame[9] = flags;
  frame.set(body, HEADER_BYTES);
  return frame;
}

export function tooLong(bytes: number): EngineError {
  return new EngineError(
    "resource_exhausted",
    `message length ${bytes} exceed maximum message size of ${MAX_BODY_BYTES}`,
  );
}

/** What a decoder found: a frame, or the head of one whose body is too long and is being skipped. */
export interface FrameSink {
  frame(frame: Frame): void;
  oversized(streamId: number, type: number, bytes: number): void;
}

/** Cuts a byte stream into frames. Bodies are copies: the caller's chunk may be used again. */
export class FrameDecoder {
  readonly #sink: FrameSink;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;
  #body: Buffer | undefined;
  #bodyBytes = 0;
  #skip = 0;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** Whether all that came were whole frames. */
  get isBetweenFrames(): boolean {
    return this.#headerBytes === 0 && this.#body === undefined && this.#skip === 0;
  }

  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#skip > 0) at += this.#skipSome(chunk.length - at);
      else if (this.#body) at += this.#fillBody(this.#body, chunk.subarray(at));
      else at += this.#fillHeader(chunk.subarray(at));
    }
  }

  #skipSome(available: number): number {
    const bytes = Math.min(this.#skip, available);
    this.#skip -= bytes;
    return bytes;
  }

  #fillHeader(chunk: Uint8Array): number {
    const part = chunk.subarray(0, HEADER_BYTES - this.#headerBytes);
    this.#header.set(part, this.#headerBytes);
    this.#headerBytes += part.length;
    if (this.#headerBytes < HEADER_BYTES) return part.length;
    this.#headerBytes = 0;
    const length = this.#header.readUInt32BE(0);
    if (length > MAX_BODY_BYTES) {
      this.#skip = length;
      this.#sink.oversized(this.#header.readUInt32BE(4), this.#header.readUInt8(8), length);
    } else {
      this.#body = Buffer.allocUnsafe(length);
      this.#bodyBytes = 0;
      if (length === 0) this.#emit(this.#body);
    }
    return part.length;
  }

  #fillBody(body: Buffer, chunk: Uint8Array): number {
    const part = chunk.subarray(0, body.length - this.#bodyBytes);
    body.set(part, this.#bodyBytes);
    this.#bodyBytes += part.length;
    if (this.#bodyBytes === body.length) this.#emit(body);
    return part.length;
  }

  #emit(body: Buffer): void {
    this.#body = undefined;
    this.#sink.frame({
      streamId: this.#header.readUInt32BE(4),
      type: this.#header.readUInt8(8),
      flags: this.#header.readUInt8(9),
      body,
    });
  }
}
