import { MESSAGE_LIMIT_BYTES, tooLongToReceive } from "../message-limit.ts";

/** Before each message: whether it is compressed, and its length. */
export const MESSAGE_HEADER_BYTES = 5;
const BODY_LIMIT_BYTES = MESSAGE_HEADER_BYTES + MESSAGE_LIMIT_BYTES;
const EMPTY = Buffer.alloc(0);

/**
 * The body of an answer, put together from however many pieces. It takes at most twice the memory
 * that the bytes received so far need, whatever length they announce.
 */
export class AnswerBody {
  #room = EMPTY;
  #length = 0;

  /** All that came; a view. */
  get bytes(): Buffer {
    return this.#room.subarray(0, this.#length);
  }

  /**
   * Keep a copy of a piece.
   * @throws EngineError `resource_exhausted` for a body over the limit
   */
  push(piece: Buffer): void {
    const length = this.#length + piece.byteLength;
    if (length > BODY_LIMIT_BYTES) throw tooLongToReceive(Math.max(this.#announced(), length));
    if (length > this.#room.byteLength) this.#grow(length);
    this.#room.set(piece, this.#length);
    this.#length = length;
  }

  #grow(length: number): void {
    const room = Buffer.allocUnsafe(Math.max(length, Math.min(2 * this.#length, BODY_LIMIT_BYTES)));
    room.set(this.bytes);
    this.#room = room;
  }

  /** The length of the first message, as its header has it. */
  #announced(): number {
    return this.#length < MESSAGE_HEADER_BYTES ? 0 : this.#room.readUInt32BE(1);
  }
}
