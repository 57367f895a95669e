/** Frame types and flags of HTTP/2, RFC 9113 section 6. */
export const FrameType = {
  data: 0,
  headers: 1,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

/** Also the acknowledgement of settings and pings. */
export const END_STREAM = 0x1;
export const ACK = 0x1;
export const END_HEADERS = 0x4;
const PADDED = 0x8;
const PRIORITY = 0x20;

export const FRAME_HEADER_BYTES = 9;
/** The largest payload that a peer takes, and ours, unless its settings say more. */
export const MAX_FRAME_BYTES = 16_384;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  /** Without padding and priority; a view. */
  readonly payload: Buffer;
  /** Of the payload as it was sent, which flow control counts. */
  readonly wireBytes: number;
}

/** Write a frame's header into a buffer that has room for it. */
export function writeFrameHeader(
  into: Buffer,
  at: number,
  { type, flags, streamId, bytes }: { type: number; flags: number; streamId: number; bytes: number },
): void {
  into.writeUIntBE(bytes, at, 3);
  into[at + 3] = type;
  into[at + 4] = flags;
  into.writeUInt32BE(streamId, at + 5);
}

export function encodeFrame(type: number, flags: number, streamId: number, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + payload.byteLength);
  writeFrameHeader(frame, 0, { type, flags, streamId, bytes: payload.byteLength });
  frame.set(payload, FRAME_HEADER_BYTES);
  return frame;
}

/** A payload of 32-bit numbers, as those of RST_STREAM and WINDOW_UPDATE are. */
export function u32(...values: number[]): Buffer {
  const bytes = Buffer.allocUnsafe(4 * values.length);
  for (const [position, value] of values.entries()) bytes.writeUInt32BE(value, 4 * position);
  return bytes;
}

/** Cuts what comes in into frames. */
export class FrameReader {
  #rest: Buffer | undefined;

  /** @throws Error for what is no HTTP/2 as it was agreed on */
  *read(chunk: Buffer): Generator<Frame> {
    const bytes = this.#rest ? Buffer.concat([this.#rest, chunk]) : chunk;
    this.#rest = undefined;
    let offset = 0;
    while (offset + FRAME_HEADER_BYTES <= bytes.byteLength) {
      const wireBytes = bytes.readUIntBE(offset, 3);
      if (wireBytes > MAX_FRAME_BYTES) throw new Error(`HTTP/2: a frame of ${wireBytes} bytes`);
      const end = offset + FRAME_HEADER_BYTES + wireBytes;
      if (end > bytes.byteLength) break;
      const type = bytes.readUInt8(offset + 3);
      const flags = bytes.readUInt8(offset + 4);
      const streamId = bytes.readUInt32BE(offset + 5) & 0x7fffffff;
      const payload = stripped(type, flags, bytes.subarray(offset + FRAME_HEADER_BYTES, end));
      offset = end;
      yield { type, flags, streamId, payload, wireBytes };
    }
    if (offset < bytes.byteLength) this.#rest = Buffer.from(bytes.subarray(offset));
  }
}

function stripped(type: number, flags: number, payload: Buffer): Buffer {
  if (type !== FrameType.data && type !== FrameType.headers) return payload;
  const padded = (flags & PADDED) !== 0;
  const start = (padded ? 1 : 0) + (type === FrameType.headers && flags & PRIORITY ? 5 : 0);
  const end = payload.byteLength - (padded ? (payload[0] ?? 0) : 0);
  if (start > end) throw new Error("HTTP/2: more padding than payload");
  return payload.subarray(start, end);
}
