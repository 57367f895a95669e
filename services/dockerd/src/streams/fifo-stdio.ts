import fs from "node:fs";
import path from "node:path";
import { Duplex } from "node:stream";
import { EngineError, isErrno } from "@longshore/errors";
import {
  encodeFrame,
  type JsonFileLog,
  JsonFileWriter,
  type LoggerProgram,
  STDERR,
  STDIN,
  STDOUT,
  StdioFrameDecoder,
} from "@longshore/stdio";
import { compressRotated } from "@longshore/stdio/compress";
import { LoggerProcess } from "./logger-process.ts";
import type { ProcessStdio } from "./process-stdio.ts";

export interface FifoStdioOptions {
  directory: string;
  /** `init` or the exec's id. */
  name: string;
  stdin: boolean;
  terminal: boolean;
  log?: JsonFileLog | undefined;
  logger?: LoggerProgram | undefined;
  /** Ask the shim to let go of its own end of the stdin FIFO. */
  closeIo: () => Promise<void>;
  onLogError: (error: unknown) => void;
}

const MAX_WAIT_MS = 50;
const { O_RDONLY, O_RDWR, O_NONBLOCK } = fs.constants;

/**
 * Stdio over FIFOs, for a shim that doesn't know `longshore://`: here this daemon copies the output to the log and to
 * its clients, so what is written while it is away waits in the pipe, and a full pipe stops the process.
 */
export function fifoStdio(options: FifoStdioOptions): ProcessStdio {
  return new FifoStdio(options);
}

class FifoStdio implements ProcessStdio {
  readonly kind = "fifo";
  readonly uris: { stdin: string; stdout: string; stderr: string };
  private readonly clients = new Set<Client>();
  private readonly log: JsonFileWriter | undefined;
  private readonly logger: LoggerProcess | undefined;
  private readonly stdinFd: number | undefined;
  private open = 0;
  private stdinOpen: boolean;
  private readonly closeIo: () => Promise<void>;
  private readonly running = Promise.withResolvers<void>();

  constructor({ directory, name, stdin, terminal, log, logger, closeIo, onLogError }: FifoStdioOptions) {
    this.closeIo = closeIo;
    fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
    const fifo = (stream: string) => path.join(directory, `${name}-${stream}`);
    this.uris = {
      stdin: stdin ? fifo("stdin") : "",
      stdout: fifo("stdout"),
      stderr: terminal ? "" : fifo("stderr"),
    };
    const files = Object.values(this.uris).filter((file) => file !== "");
    const missing = files.filter((file) => !fs.existsSync(file));
    if (missing.length > 0) makeFifos(missing);
    this.log =
      log && new JsonFileWriter(log, { onError: onLogError, onRotated: compressor(log, onLogError) });
    this.logger = logger && new LoggerProcess(logger, onLogError);
    this.stdinOpen = stdin;
    // Held open both ways, so that neither side has to wait for the other.
    if (stdin) this.stdinFd = fs.openSync(this.uris.stdin, O_RDWR | O_NONBLOCK);
    this.copy(this.uris.stdout, STDOUT);
    if (this.uris.stderr !== "") this.copy(this.uris.stderr, STDERR);
  }

  async connect(): Promise<Duplex> {
    if (this.open === 0) throw new EngineError("not_found", "the process's output has ended");
    const client = new Client((chunk) => this.writeStdin(chunk));
    this.clients.add(client);
    client.once("close", () => this.clients.delete(client));
    return client;
  }

  started(): void {
    this.running.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.running.resolve();
    this.closeStdin();
    for (const file of Object.values(this.uris)) if (file !== "") fs.rmSync(file, { force: true });
  }

  private copy(file: string, stream: number): void {
    const fd = fs.openSync(file, O_RDONLY | O_NONBLOCK);
    this.open++;
    const done = () => {
      fs.closeSync(fd);
      this.open--;
      if (this.open > 0) return;
      this.log?.close();
      this.logger?.end();
      for (const client of this.clients) client.push(null);
    };
    void this.pump(fd, stream).then(done, done);
  }

  private async pump(fd: number, stream: number): Promise<void> {
    for await (const chunk of Bun.file(fd).stream()) {
      const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      const name = stream === STDOUT ? "stdout" : "stderr";
      this.log?.write(name, bytes);
      await this.logger?.write(name, bytes);
      const frame = encodeFrame(stream, bytes);
      await Promise.all([...this.clients].map((client) => client.send(frame)));
    }
  }

  private writeStdin(chunk: Buffer): Promise<void> {
    if (!this.stdinOpen || this.stdinFd === undefined) return Promise.resolve();
    if (chunk.length === 0) return this.endStdin();
    return this.writeAll(this.stdinFd, chunk);
  }

  /** Not with a sink of Bun's: that keeps an end of the FIFO open until it is collected, so that the process waits for more. */
  private async writeAll(fd: number, bytes: Buffer): Promise<void> {
    let waitMs = 1;
    for (let at = 0; at < bytes.length && this.stdinOpen; ) {
      try {
        at += fs.writeSync(fd, bytes, at);
        waitMs = 1;
      } catch (error) {
        if (!isErrno(error, "EAGAIN")) throw error;
        await Bun.sleep(waitMs); // the pipe is full, the process will read or end
        waitMs = Math.min(waitMs * 2, MAX_WAIT_MS);
      }
    }
  }

  /** A shim opens an exec's FIFOs as it starts the process: ours is the only end before, and what was written is gone with it. */
  private async endStdin(): Promise<void> {
    await this.running.promise;
    if (!this.stdinOpen) return;
    this.closeStdin();
    await this.closeIo();
  }

  /** Closing both our ends leaves the process with the end of its input. */
  private closeStdin(): void {
    if (!this.stdinOpen || this.stdinFd === undefined) return;
    this.stdinOpen = false;
    fs.closeSync(this.stdinFd);
  }
}

/** Compresses what was rotated, on other threads, and once more if the log was rotated meanwhile. */
function compressor(log: JsonFileLog, onError: (error: unknown) => void): () => void {
  let running = false;
  let again = false;
  const run = async () => {
    running = true;
    while (again) {
      again = false;
      await compressRotated(log.path, log.maxFiles ?? 1).catch(onError);
    }
    running = false;
  };
  return () => {
    again = true;
    if (!running) void run();
  };
}

/** One attached client: frames both ways. */
class Client extends Duplex {
  private readonly decoder: StdioFrameDecoder;
  private pending: Promise<void> = Promise.resolve();
  private wake: (() => void) | undefined;

  constructor(stdin: (chunk: Buffer) => Promise<void>) {
    super({ allowHalfOpen: true });
    const take = (stream: number, bytes: Uint8Array) => {
      if (stream !== STDIN) return;
      const copy = Buffer.from(bytes);
      this.pending = this.pending.then(() => stdin(copy));
    };
    this.decoder = new StdioFrameDecoder({ data: take, empty: (stream) => take(stream, Buffer.alloc(0)) });
  }

  send(frame: Buffer): Promise<void> | void {
    if (this.destroyed || this.push(frame)) return;
    return new Promise((resolve) => {
      this.wake = resolve;
      this.once("close", resolve);
    });
  }

  override _read(): void {
    this.wake?.();
    this.wake = undefined;
  }

  override _write(chunk: Buffer, _encoding: string, callback: (error?: Error) => void): void {
    this.decoder.push(chunk);
    this.pending.then(() => callback(), callback);
  }
}

function makeFifos(files: string[]): void {
  const { success, stderr } = Bun.spawnSync(["mkfifo", "-m", "600", ...files]);
  if (!success) throw new EngineError("internal", `making FIFOs: ${stderr.toString().trim()}`);
}
