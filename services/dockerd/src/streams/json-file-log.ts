import fs from "node:fs";
import { STDOUT } from "./frames.ts";
import type { LogTarget } from "./socket-stdio.ts";

/** Longer lines are split into entries of this size, all but the last without a newline, as Docker does. */
const LINE_LIMIT_BYTES = 16 * 1024;

/** Writes Docker's json-file log: one `{"log":…,"stream":…,"time":…}` a line, with rotation. */
export class JsonFileLog {
  private readonly target: LogTarget;
  private fd: number;
  private size: number;
  private readonly partial = new Map<number, Buffer>();

  constructor(target: LogTarget) {
    this.target = target;
    this.fd = fs.openSync(target.file, "a", 0o640);
    this.size = fs.fstatSync(this.fd).size;
  }

  write(stream: number, bytes: Buffer): void {
    let rest = Buffer.concat([this.partial.get(stream) ?? Buffer.alloc(0), bytes]);
    const lines: string[] = [];
    for (;;) {
      const newline = rest.indexOf(10);
      const end = newline >= 0 && newline < LINE_LIMIT_BYTES ? newline + 1 : LINE_LIMIT_BYTES;
      if (rest.length < end || (newline < 0 && rest.length === end)) break;
      lines.push(entry(stream, rest.subarray(0, end)));
      rest = rest.subarray(end);
    }
    this.partial.set(stream, Buffer.from(rest));
    if (lines.length > 0) this.append(lines.join(""));
  }

  /** A stream has ended: what has no newline is written as it is. */
  end(stream: number): void {
    const rest = this.partial.get(stream);
    if (rest && rest.length > 0) this.append(entry(stream, rest));
    this.partial.delete(stream);
    if (this.partial.size === 0) fs.closeSync(this.fd);
  }

  private append(text: string): void {
    const { maxSizeBytes } = this.target;
    if (maxSizeBytes !== undefined && this.size >= maxSizeBytes) this.rotate();
    this.size += fs.writeSync(this.fd, text);
  }

  private rotate(): void {
    const { file, maxFiles = 1 } = this.target;
    fs.closeSync(this.fd);
    for (let n = maxFiles - 1; n >= 1; n--) {
      const from = n === 1 ? file : `${file}.${n - 1}`;
      if (fs.existsSync(from)) fs.renameSync(from, `${file}.${n}`);
    }
    this.fd = fs.openSync(file, "w", 0o640);
    this.size = 0;
  }
}

function entry(stream: number, bytes: Buffer): string {
  const value = {
    log: bytes.toString(),
    stream: stream === STDOUT ? "stdout" : "stderr",
    time: new Date().toISOString(),
  };
  return `${JSON.stringify(value)}\n`;
}
