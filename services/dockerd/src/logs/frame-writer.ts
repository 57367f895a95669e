import type { Writable } from "node:stream";

const HEADER_BYTES = 8;
const BUFFER_BYTES = 256 * 1024;
/** Of UTF-8, for one of a string's units. */
const LONGEST_UNIT = 3;

/** Gathers texts for a client, framed by stream unless it is a terminal's, and sends many in one piece, at the client's pace. */
export class FrameWriter {
  private readonly output: Writable;
  private readonly framed: boolean;
  private buffer = Buffer.allocUnsafe(BUFFER_BYTES);
  private used = 0;

  constructor(output: Writable, { framed }: { framed: boolean }) {
    this.output = output;
    this.framed = framed;
  }

  /** Resolves when there is room for more; undefined when there is at once. */
  write(stream: number, text: string): Promise<void> | undefined {
    const most = HEADER_BYTES + text.length * LONGEST_UNIT;
    const sent = this.used + most > this.buffer.length ? this.flush() : undefined;
    if (most > this.buffer.length) this.buffer = Buffer.allocUnsafe(most);
    const { buffer, used } = this;
    const at = this.framed ? used + HEADER_BYTES : used;
    const length = buffer.write(text, at);
    if (this.framed) {
      buffer.writeUInt32BE(stream * 0x1000000, used);
      buffer.writeUInt32BE(length, used + 4);
    }
    this.used = at + length;
    return sent;
  }

  /** Send what is gathered. Resolves when the client takes more, or is gone. */
  flush(): Promise<void> | undefined {
    if (this.used === 0) return undefined;
    const piece = this.buffer.subarray(0, this.used);
    // The piece may wait in the connection: what follows gets a buffer of its own.
    this.buffer = Buffer.allocUnsafe(BUFFER_BYTES);
    this.used = 0;
    return this.output.write(piece) ? undefined : drained(this.output);
  }
}

async function drained(output: Writable): Promise<void> {
  if (output.destroyed) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      output.off("drain", done);
      output.off("close", done);
      resolve();
    };
    output.once("drain", done);
    output.once("close", done);
  });
}
