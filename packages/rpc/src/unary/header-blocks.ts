import { END_HEADERS, END_STREAM, FRAME_HEADER_BYTES, type Frame, FrameType } from "./frame.ts";
import { type Header, HpackDecoder } from "./hpack.ts";

/** A header block as it is sent, in bytes. It is held until it is complete. */
const BLOCK_LIMIT_BYTES = 1 << 20;

/** The headers of one block. */
export interface HeaderBlock {
  readonly streamId: number;
  readonly headers: readonly Header[];
  /** Whether nothing follows on this stream. */
  readonly isLast: boolean;
}

/** Puts the header blocks of one direction of a connection together; RFC 9113 section 4.3. */
export class HeaderBlocks {
  readonly #hpack = new HpackDecoder();
  /** A block of which more is to come. */
  #open: { first: Frame; parts: Buffer[]; bytes: number } | undefined;

  /**
   * Take the connection's next frame, of whatever type.
   * @returns the block whose last frame it was
   * @throws Error for a block that does not end, is too long or does not parse; the connection is of
   *   no use then
   */
  take(frame: Frame): HeaderBlock | undefined {
    const continues = frame.type === FrameType.continuation;
    if (continues !== (this.#open !== undefined)) throw new Error("HTTP/2: headers that start or end badly");
    if (!continues && frame.type !== FrameType.headers) return undefined;
    this.#open ??= { first: frame, parts: [], bytes: 0 };
    const { first, parts } = this.#open;
    this.#open.bytes += FRAME_HEADER_BYTES + frame.payload.byteLength;
    if (this.#open.bytes > BLOCK_LIMIT_BYTES) throw new Error("HTTP/2: a header block that is too long");
    parts.push(Buffer.from(frame.payload));
    if (!(frame.flags & END_HEADERS)) return undefined;
    this.#open = undefined;
    const headers = this.#hpack.decode(Buffer.concat(parts));
    return { streamId: first.streamId, headers, isLast: (first.flags & END_STREAM) !== 0 };
  }
}
