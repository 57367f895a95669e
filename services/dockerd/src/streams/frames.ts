/** Stream numbers of Docker's 8-byte frame header: stream u8, three zero bytes, payload length u32 big-endian. */
export const STDIN = 0;
export const STDOUT = 1;
export const STDERR = 2;

const HEADER_BYTES = 8;

/** A frame's bytes. */
export function encodeFrame(stream: number, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + payload.length);
  frame.writeUInt32BE(stream << 24, 0);
  frame.writeUInt32BE(payload.length, 4);
  frame.set(payload, HEADER_BYTES);
  return frame;
}

/**
 * Takes a byte stream of frames apart, without waiting for a frame to be complete: payload is handed on as it comes, so
 * a frame may arrive in several calls; an empty frame is one call with nothing.
 */
export class FrameDecoder {
  private readonly header = Buffer.alloc(HEADER_BYTES);
  private headerBytes = 0;
  private left = 0;
  private readonly take: (stream: number, payload: Buffer) => void;

  constructor(take: (stream: number, payload: Buffer) => void) {
    this.take = take;
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.left === 0) {
        const copied = chunk.copy(this.header, this.headerBytes, at, at + HEADER_BYTES - this.headerBytes);
        this.headerBytes += copied;
        at += copied;
        if (this.headerBytes < HEADER_BYTES) return;
        this.headerBytes = 0;
        this.left = this.header.readUInt32BE(4);
        if (this.left === 0) this.take(this.header[0] ?? 0, Buffer.alloc(0));
        continue;
      }
      const end = Math.min(chunk.length, at + this.left);
      this.take(this.header[0] ?? 0, chunk.subarray(at, end));
      this.left -= end - at;
      at = end;
    }
  }
}
