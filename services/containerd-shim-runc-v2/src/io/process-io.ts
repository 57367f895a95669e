import { EngineError, isErrno } from "@longshore/errors";
import {
  isStdioUri,
  type JsonFileLog,
  JsonFileWriter,
  type LoggerProgram,
  type LogStream,
  parseStdioUri,
  STDERR,
  STDOUT,
  type SuspendedLog,
} from "@longshore/stdio";
import {
  close,
  F_GETFL,
  F_SETFL,
  fchown,
  fcntl,
  mkdirAll,
  O_APPEND,
  O_CLOEXEC,
  O_CREAT,
  O_NONBLOCK,
  O_WRONLY,
  openFile,
  pipe,
  S_IFIFO,
  S_IFMT,
  setWindowSize,
  stat,
  type WindowSize,
} from "@longshore/syscalls";
import { binaryLogger, logCompressor } from "../load.ts";
import { dirname } from "../paths.ts";
import { spawned } from "../reaper.ts";
import { AttachServer } from "./attach-server.ts";
import type { BinaryLogger, LoggerOptions } from "./binary-logger.ts";
import { ConsoleSocket } from "./console-socket.ts";
import { FdSink } from "./fd-sink.ts";
import type { LogCompressor } from "./log-compressor.ts";
import { type LoggingUri, parseLoggingUri } from "./logging-uri.ts";
import { OutputPump } from "./output-pump.ts";
import { readSome, unwatch, type Watched, watch } from "./readiness.ts";
import type { Sink } from "./sink.ts";

const APPEND = O_WRONLY | O_APPEND | O_CLOEXEC;

/** A task request's stdio fields. */
export interface StdioRequest {
  terminal: boolean;
  stdin: string;
  stdout: string;
  stderr: string;
}

export interface ProcessIoOptions {
  bundle: string;
  /** Short directory for the console socket. */
  socketDirectory: string;
  uid: number;
  gid: number;
  /** What a logging program is told: the container's id or the exec's, and the namespace. */
  id: string;
  namespace: string;
  onTrouble: (what: string, error: unknown) => void;
}

/** The stdio of a process that goes on in another program: descriptors of this process, and what they don't say. Plain data. */
export interface SuspendedIo {
  /** Undefined where there is none, or none any more. */
  readonly stdin: number | undefined;
  /** Of a terminal there is one, its master. */
  readonly outputs: readonly number[];
  /** The socket for clients. */
  readonly attach: number | undefined;
  readonly log: SuspendedLog | undefined;
}

/** What runc is to give the process as descriptors 0, 1 and 2. */
export type ChildStdio = [stdin: number | "ignore", stdout: number | "ignore", stderr: number | "ignore"];

/**
 * The input and output of one process, from before it exists until its last byte was delivered. Made, then handed to
 * runc (`child`, or `consolePath` with a terminal), then connected with `begin`; whoever made it calls `close`.
 */
export class ProcessIo {
  readonly request: StdioRequest;
  readonly #options: ProcessIoOptions;
  readonly #suspended: SuspendedIo | undefined;
  readonly #childFds: number[] = [];
  readonly #pumps: OutputPump[] = [];
  readonly #logs: JsonFileWriter[] = [];
  readonly #loggers = new Map<string, BinaryLogger>();
  readonly #undo: (() => void)[] = [];
  #console: ConsoleSocket | undefined;
  #master: number | undefined;
  #stdin: FdSink | undefined;
  #closeStdin: () => void = () => {};
  #attach: AttachServer | undefined;
  #done = Promise.resolve();
  child: ChildStdio = ["ignore", "ignore", "ignore"];

  /** @param suspended where an earlier program began with it; `begin` is called all the same */
  constructor(request: StdioRequest, options: ProcessIoOptions, suspended?: SuspendedIo) {
    this.request = request;
    this.#options = options;
    this.#suspended = suspended;
    try {
      if (suspended) {
        this.#resumePipes(suspended);
      } else if (request.terminal) {
        this.#console = new ConsoleSocket(options.socketDirectory);
        if (isBinary(request.stdout)) this.#logger(parseLoggingUri(request.stdout));
        const program = isStdioUri(request.stdout) ? parseStdioUri(request.stdout).logger : undefined;
        if (program) this.#program(program);
      } else {
        this.#openPipes();
      }
      this.#openAttach();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Where runc sends the terminal; undefined without one. */
  get consolePath(): string | undefined {
    return this.#console?.path;
  }

  /**
   * Whoever takes the output is ready for it.
   *
   * @throws EngineError `unknown` when a logging program doesn't get ready
   */
  async ready(): Promise<void> {
    for (const logger of this.#loggers.values()) await logger.ready;
  }

  /** runc has started the process (or made it, ready to start): take the terminal, begin to copy. */
  begin(): void {
    for (const fd of this.#childFds.splice(0)) close(fd);
    if (this.#console) this.#takeTerminal(this.#console.receive());
    else if (this.#suspended && this.request.terminal) this.#takeTerminal(this.#suspended.outputs[0] ?? -1);
    for (const pump of this.#pumps) pump.start();
    this.#done = this.#end();
  }

  /**
   * What another program needs to go on with this: undefined while there is something to do, and where others than ours take part: logging
   * programs, FIFOs.
   */
  get suspended(): SuspendedIo | undefined {
    const { stdin, stdout, stderr } = this.request;
    if (![stdin, stdout, stderr].every((target) => target === "" || isStdioUri(target))) return undefined;
    if (this.#loggers.size > 0) return undefined;
    const outputs = this.#pumps.map((pump) => pump.suspended);
    const attach = this.#attach?.suspended;
    const [writer] = this.#logs;
    const log = writer?.suspended;
    const isBusy =
      outputs.includes(undefined) ||
      this.#stdin?.isEmpty === false ||
      (this.#attach && attach === undefined) ||
      (writer && !log);
    if (isBusy) return undefined;
    return { stdin: this.#stdin?.fd, outputs: outputs as number[], attach, log };
  }

  /** All output is with its readers and in its log. */
  get done(): Promise<void> {
    return this.#done;
  }

  /** Copy what there is now; whether that was all there will ever be. */
  drain(): boolean {
    for (const pump of this.#pumps) pump.drain();
    return this.#pumps.every((pump) => pump.isEnded);
  }

  closeStdin(): void {
    this.#closeStdin();
  }

  /** @throws EngineError `failed_precondition` without a terminal */
  resize(size: WindowSize): void {
    if (this.#master === undefined)
      throw new EngineError("failed_precondition", "the process has no terminal");
    setWindowSize(this.#master, size);
  }

  /** Tell logging programs that no more will come, and wait for their ends. */
  async finish(): Promise<void> {
    await Promise.all([...this.#loggers.values()].map((logger) => logger.end()));
  }

  /** Release everything, delivered or not. */
  close(): void {
    for (const fd of this.#childFds.splice(0)) close(fd);
    this.#console?.close();
    for (const pump of this.#pumps) pump.close();
    this.#stdin?.close();
    for (const undo of this.#undo.splice(0)) undo();
    for (const log of this.#logs.splice(0)) log.close();
    void this.finish();
    this.#attach?.close();
  }

  async #end(): Promise<void> {
    await Promise.all(this.#pumps.map((pump) => pump.ended));
    for (const log of this.#logs.splice(0)) log.close();
    this.#attach?.end();
  }

  #openPipes(): void {
    const { stdin, stdout } = this.request;
    // As in the original, what is no FIFO takes both streams.
    const both = /^(binary|file):\/\//.test(stdout);
    const stderr = this.request.stderr || (both ? stdout : "");
    if (stdin !== "") {
      const [readEnd, writeEnd] = this.#pipe();
      this.child[0] = readEnd;
      this.#openStdin(writeEnd);
    }
    if (stdout !== "") this.child[1] = this.#openOutput(stdout, "stdout");
    if (stderr !== "") this.child[2] = this.#openOutput(stderr, "stderr");
  }

  #resumePipes({ stdin, outputs }: SuspendedIo): void {
    if (this.request.terminal) return;
    if (stdin !== undefined) this.#openStdin(stdin);
    const targets = [this.request.stdout, this.request.stderr];
    const streams = (["stdout", "stderr"] as const).filter((_, index) => targets[index] !== "");
    for (const [index, stream] of streams.entries()) {
      const pump = new OutputPump(outputs[index] ?? -1);
      this.#pumps.push(pump);
      this.#addSinks(pump, targets[stream === "stdout" ? 0 : 1] ?? "", stream);
    }
  }

  /** [for the child, for us] by direction: the first end is the child's to read. */
  #pipe(): [read: number, write: number] {
    const ends = pipe(O_CLOEXEC);
    const { uid, gid } = this.#options;
    if (uid !== 0 || gid !== 0) for (const fd of ends) fchown(fd, uid, gid);
    this.#childFds.push(ends[0]);
    return ends;
  }

  #openOutput(target: string, stream: LogStream): number {
    const [readEnd, writeEnd] = this.#pipe();
    this.#childFds[this.#childFds.length - 1] = writeEnd;
    const pump = new OutputPump(readEnd);
    this.#pumps.push(pump);
    this.#addSinks(pump, target, stream);
    return writeEnd;
  }

  #addSinks(pump: OutputPump, target: string, stream: LogStream): void {
    if (!isStdioUri(target)) {
      const uri = parseLoggingUri(target);
      pump.addSink(uri.scheme === "binary" ? this.#logger(uri).sink(stream) : this.#fileSink(uri, pump));
      return;
    }
    const { log, logger } = parseStdioUri(target);
    if (log) pump.addSink(this.#logSink(log, stream));
    if (logger) pump.addSink(this.#program(logger).sink(stream));
  }

  /** Both streams of a process share one log. */
  #logSink(log: JsonFileLog, stream: LogStream): Sink {
    const writer = this.#logs[0] ?? this.#openLog(log);
    return {
      write(bytes) {
        writer.write(stream, bytes);
        return true;
      },
      end: () => writer.end(stream),
      close() {},
    };
  }

  #openLog(log: JsonFileLog): JsonFileWriter {
    const onError = (error: unknown) => this.#options.onTrouble(`log ${log.path}`, error);
    let compressor: LogCompressor | undefined;
    const onRotated = () => {
      if (!compressor) {
        const { LogCompressor } = logCompressor();
        compressor = new LogCompressor(log, { onError, spawned });
      }
      compressor.wake();
    };
    const writer = new JsonFileWriter(log, { onError, onRotated }, this.#suspended?.log);
    this.#logs.push(writer);
    return writer;
  }

  #program({ uri, bufferBytes, droppedFile }: LoggerProgram): BinaryLogger {
    const buffer = bufferBytes === undefined ? undefined : { bytes: bufferBytes, droppedFile };
    return this.#logger(parseLoggingUri(uri), { restart: true, buffer });
  }

  /** One program for both streams. */
  #logger(uri: LoggingUri, more: Pick<LoggerOptions, "restart" | "buffer"> = {}): BinaryLogger {
    const key = `${uri.path}?${uri.query}`;
    let logger = this.#loggers.get(key);
    if (!logger) {
      const { BinaryLogger } = binaryLogger();
      const { id, namespace } = this.#options;
      const onRoom = () => {
        for (const pump of this.#pumps) pump.resume();
      };
      logger = new BinaryLogger(uri, { id, namespace, onRoom, spawned, ...more });
      this.#loggers.set(key, logger);
    }
    return logger;
  }

  /** A FIFO as containerd's clients make them, or a file: `file://PATH`, made if need be, or a plain file's path. */
  #fileSink({ scheme, path: name }: LoggingUri, pump: OutputPump): Sink {
    if (scheme === "file") {
      mkdirAll(dirname(name));
      return new FdSink(openFile(name, APPEND | O_CREAT, 0o644), () => pump.resume());
    }
    if (scheme !== "fifo")
      throw new EngineError("unimplemented", `stdio scheme ${scheme}:// is not supported`);
    if (!isFifo(name)) return new FdSink(openFile(name, APPEND), () => pump.resume());
    // A reader that comes and goes must not be seen: we hold both ends.
    const keeper = openFile(name, 2 | O_NONBLOCK | O_CLOEXEC);
    const fd = openFile(name, 1 | O_NONBLOCK | O_CLOEXEC);
    return new FdSink(
      fd,
      () => pump.resume(),
      () => {
        close(fd);
        close(keeper);
      },
    );
  }

  /** From the client's FIFO or the attached clients into the process. */
  #openStdin(fd: number, onEnd: () => void = () => close(fd)): void {
    const { stdin } = this.request;
    let source: FifoSource | undefined;
    const sink = new FdSink(
      fd,
      () => {
        this.#attach?.resumeInput();
        source?.resume();
      },
      onEnd,
    );
    setNonBlocking(fd);
    this.#stdin = sink;
    this.#closeStdin = () => sink.end();
    if (isStdioUri(stdin)) return;
    const { path: name } = parseLoggingUri(stdin);
    if (!isFifo(name)) throw new EngineError("invalid_argument", `stdin ${stdin} is not a FIFO`);
    source = new FifoSource(name, sink);
    const { closeKeeper } = source;
    this.#closeStdin = closeKeeper;
    this.#undo.push(() => source?.close());
  }

  #openAttach(): void {
    const { terminal, stdin, stdout, stderr } = this.request;
    const uri = [stdout, stderr, stdin].find(isStdioUri);
    if (!uri) return;
    const { socketPath, log } = parseStdioUri(uri);
    const wantsInput = isStdioUri(stdin);
    const options = {
      socketPath,
      spoolDirectory: log ? dirname(log.path) : this.#options.bundle,
      onInput: wantsInput ? (bytes: Uint8Array) => this.#stdin?.write(bytes) ?? true : undefined,
      // A terminal has no end of file to send; its line discipline makes one of ^D.
      onInputEnd: () => wantsInput && !terminal && this.#closeStdin(),
      onRoom: () => {
        for (const pump of this.#pumps) pump.resume();
      },
    };
    this.#attach = new AttachServer(options, this.#suspended?.attach);
    const [first, second] = this.#pumps;
    if (!terminal) {
      if (isStdioUri(stdout)) first?.addSink(this.#attach.sink(STDOUT));
      if (isStdioUri(stderr))
        (isStdioUri(stdout) || stdout !== "" ? second : first)?.addSink(this.#attach.sink(STDERR));
    }
  }

  #takeTerminal(master: number): void {
    const { stdin, stdout } = this.request;
    this.#console = undefined;
    this.#master = master;
    // Its number may soon be another's: nothing may write to it, or resize it, any more.
    const pump = new OutputPump(master, () => {
      this.#master = undefined;
      this.#stdin?.close();
      for (const undo of this.#undo.splice(0)) undo();
    });
    this.#pumps.push(pump);
    // Without a sink nobody looks, but the process must not block on a full terminal.
    if (stdout !== "") this.#addSinks(pump, stdout, "stdout");
    if (isStdioUri(stdout) && this.#attach) pump.addSink(this.#attach.sink(STDOUT));
    const wasClosed = this.#suspended && this.#suspended.stdin === undefined;
    // The pump owns the descriptor.
    if (stdin !== "" && !wasClosed) this.#openStdin(master, () => {});
  }
}

/** A client's stdin FIFO. A keeper holds it open, so that clients may come and go, until the stdin is to be closed. */
class FifoSource implements Watched {
  readonly #fd: number;
  readonly #sink: FdSink;
  #keeper: number | undefined;
  #blocked = false;
  #closed = false;

  constructor(name: string, sink: FdSink) {
    this.#keeper = openFile(name, 2 | O_NONBLOCK | O_CLOEXEC);
    // Not the keeper: O_ASYNC on a descriptor that can also write would never be quiet.
    this.#fd = openFile(name, 0 | O_NONBLOCK | O_CLOEXEC);
    this.#sink = sink;
    watch(this.#fd, this);
    this.onReady();
  }

  resume(): void {
    if (!this.#blocked) return;
    this.#blocked = false;
    setImmediate(() => this.onReady());
  }

  onReady(): void {
    while (!this.#blocked && !this.#closed) {
      const bytes = readSome(this.#fd);
      if (!bytes) return;
      if (bytes.length === 0) {
        this.close();
        this.#sink.end();
        return;
      }
      if (!this.#sink.write(bytes)) this.#blocked = true;
    }
  }

  /** Once the clients have closed it too, what is left is passed on and the process sees the end. */
  closeKeeper = (): void => {
    if (this.#keeper !== undefined) close(this.#keeper);
    this.#keeper = undefined;
    this.onReady();
  };

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    unwatch(this);
    close(this.#fd);
    if (this.#keeper !== undefined) close(this.#keeper);
    this.#keeper = undefined;
  }
}

function isBinary(target: string): boolean {
  return target.startsWith("binary://");
}

function isFifo(name: string): boolean {
  try {
    return (stat(name).mode & S_IFMT) === S_IFIFO;
  } catch (error) {
    if (isErrno(error, "ENOENT"))
      throw new EngineError("not_found", `stdio ${name}: no such file or directory`);
    throw error;
  }
}

function setNonBlocking(fd: number): void {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}
