const HEADER_BYTES = 8;
const STDIN = 0;
const STDERR = 2;
const SYSTEM_ERROR = 3;

/**
 * Splits Docker's multiplexed stream: frames of a header (stream, three zero bytes, length u32 big-endian) and data.
 * Data is handed on as it comes, also where a frame is not yet complete.
 */
export class FrameSplitter {
  readonly #write: (fd: 1 | 2, data: Buffer) => void;
  #header = Buffer.alloc(0);
  #stream = 0;
  #left = 0;
  #systemError = "";

  constructor(write: (fd: 1 | 2, data: Buffer) => void) {
    this.#write = write;
  }

  /** @throws Error for a frame of a stream that does not exist, or one that carries the engine's own error */
  push(chunk: Buffer): void {
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#left === 0) {
        rest = this.#readHeader(rest);
        continue;
      }
      const data = rest.subarray(0, this.#left);
      rest = rest.subarray(data.length);
      this.#left -= data.length;
      if (this.#stream !== SYSTEM_ERROR) this.#write(this.#stream === STDERR ? 2 : 1, data);
      else this.#takeError(data);
    }
  }

  #readHeader(chunk: Buffer): Buffer {
    const header = Buffer.concat([this.#header, chunk.subarray(0, HEADER_BYTES - this.#header.length)]);
    const rest = chunk.subarray(header.length - this.#header.length);
    if (header.length < HEADER_BYTES) {
      this.#header = header;
      return rest;
    }
    this.#header = Buffer.alloc(0);
    this.#stream = header.readUInt8(0);
    if (this.#stream < STDIN || this.#stream > SYSTEM_ERROR) {
      throw new Error(`unrecognized stream: ${this.#stream}`);
    }
    this.#left = header.readUInt32BE(4);
    return rest;
  }

  #takeError(data: Buffer): void {
    this.#systemError += data.toString();
    if (this.#left === 0) throw new Error(`error from daemon in stream: ${this.#systemError}`);
  }
}
