import { MAX_LINE_BYTES } from "@longshore/stdio";

/** One message of a container: a line without its newline, or a part of one that is longer than Docker's 16 KiB. */
export interface LogLine {
  stream: "stdout" | "stderr";
  text: Buffer;
  /** Of a line that was cut. */
  part?: { id: number; ordinal: number; last: boolean };
}

const NEWLINE = 10;
let lastId = 0;

/** Makes messages of chunks, wherever these were cut. */
export class LineSplitter {
  private readonly stream: LogLine["stream"];
  private rest = Buffer.alloc(0);
  private part: { id: number; ordinal: number } | undefined;

  constructor(stream: LogLine["stream"]) {
    this.stream = stream;
  }

  *push(chunk: Uint8Array): Generator<LogLine> {
    const bytes = Buffer.concat([this.rest, chunk]);
    let at = 0;
    for (;;) {
      const newline = bytes.indexOf(NEWLINE, at);
      const end = newline < 0 ? bytes.length : newline;
      if (end - at > MAX_LINE_BYTES) {
        yield this.line(bytes.subarray(at, at + MAX_LINE_BYTES), false);
        at += MAX_LINE_BYTES;
      } else if (newline >= 0) {
        yield this.line(bytes.subarray(at, end), true);
        at = newline + 1;
      } else break;
    }
    this.rest = Buffer.from(bytes.subarray(at));
  }

  /** The stream has ended: what is left had no newline. */
  *end(): Generator<LogLine> {
    if (this.rest.length > 0) yield this.line(this.rest, true);
    this.rest = Buffer.alloc(0);
  }

  private line(text: Buffer, last: boolean): LogLine {
    if (last && !this.part) return { stream: this.stream, text };
    this.part ??= { id: ++lastId, ordinal: 0 };
    this.part.ordinal++;
    const part = { ...this.part, last };
    if (last) this.part = undefined;
    return { stream: this.stream, text, part };
  }
}
