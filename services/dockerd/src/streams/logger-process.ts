import fs from "node:fs";
import { isErrno } from "@longshore/errors";
import type { LoggerProgram } from "@longshore/stdio";
import { F_GETFL, F_SETFL, fcntl, O_CLOEXEC, O_NONBLOCK, pipe } from "@longshore/syscalls";

const MAX_WAIT_MS = 50;
const NEWLINE = 10;
type Stream = "stdout" | "stderr";

/** A log driver's program for output that this daemon copies itself; ended by the end of its input. */
export class LoggerProcess {
  private readonly fds: Record<Stream, number>;
  private readonly bufferBytes: number | undefined;
  private readonly droppedFile: string | undefined;
  private readonly onError: (error: unknown) => void;
  private pending: Promise<void> = Promise.resolve();
  private waiting = 0;
  private dropped = 0;
  private ended = false;
  /** Of each stream, whether the rest of the line is to be dropped. */
  private readonly dropping = { stdout: false, stderr: false };

  constructor({ uri, bufferBytes, droppedFile }: LoggerProgram, onError: (error: unknown) => void) {
    this.bufferBytes = bufferBytes;
    this.droppedFile = droppedFile;
    this.onError = onError;
    const { pathname, searchParams } = new URL(uri);
    const args = [...searchParams].filter(([name]) => !name.startsWith("env.")).flat();
    const env = [...searchParams]
      .filter(([name]) => name.startsWith("env."))
      .map(([name, value]) => [name.slice("env.".length), value]);
    const [stdout, stderr, ready] = [pipe(O_CLOEXEC), pipe(O_CLOEXEC), pipe(O_CLOEXEC)];
    try {
      Bun.spawn([decodeURIComponent(pathname), ...args], {
        cwd: "/",
        env: Object.fromEntries(env),
        stdio: ["ignore", "ignore", "ignore", stdout[0], stderr[0], ready[1]],
        detached: true,
      }).unref();
    } finally {
      for (const fd of [stdout[0], stderr[0], ...ready]) fs.closeSync(fd);
    }
    for (const fd of [stdout[1], stderr[1]]) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    this.fds = { stdout: stdout[1], stderr: stderr[1] };
  }

  /** Resolves when there is room for more. */
  write(stream: Stream, bytes: Buffer): Promise<void> | undefined {
    if (this.bufferBytes === undefined) return this.append(stream, bytes);
    const kept = this.wholeLines(stream, bytes, this.bufferBytes - this.waiting);
    if (kept.length > 0) void this.append(stream, kept);
    return undefined;
  }

  /** No more will come. */
  end(): void {
    this.pending = this.pending.finally(() => {
      this.ended = true;
      for (const fd of Object.values(this.fds)) fs.closeSync(fd);
    });
  }

  private append(stream: Stream, bytes: Buffer): Promise<void> {
    this.waiting += bytes.length;
    const written = this.pending.then(() => this.writeAll(this.fds[stream], bytes));
    this.pending = written
      .catch((error: unknown) => {
        if (!isErrno(error, "EPIPE")) this.onError(error); // it has ended, and what follows is lost
      })
      .finally(() => {
        this.waiting -= bytes.length;
      });
    return this.pending;
  }

  private async writeAll(fd: number, bytes: Buffer): Promise<void> {
    let waitMs = 1;
    for (let at = 0; at < bytes.length && !this.ended; ) {
      try {
        at += fs.writeSync(fd, bytes, at);
        waitMs = 1;
      } catch (error) {
        if (!isErrno(error, "EAGAIN")) throw error;
        await Bun.sleep(waitMs);
        waitMs = Math.min(waitMs * 2, MAX_WAIT_MS);
      }
    }
  }

  /** What of it there is room for; the rest is counted. */
  private wholeLines(stream: Stream, bytes: Buffer, room: number): Buffer {
    let rest = bytes;
    if (this.dropping[stream]) {
      const end = rest.indexOf(NEWLINE);
      if (end < 0) return Buffer.alloc(0);
      this.dropping[stream] = false;
      rest = rest.subarray(end + 1);
    }
    if (rest.length <= room) return rest;
    const whole = room <= 0 ? 0 : rest.lastIndexOf(NEWLINE, room - 1) + 1;
    const gone = rest.subarray(whole);
    this.dropping[stream] = gone.at(-1) !== NEWLINE;
    this.dropped += gone.filter((byte) => byte === NEWLINE).length + Number(this.dropping[stream]);
    if (this.droppedFile !== undefined) fs.writeFileSync(this.droppedFile, `${this.dropped}\n`);
    return rest.subarray(0, whole);
  }
}
