import { EngineError } from "@longshore/errors";
import { close, F_GETFL, F_SETFL, fcntl, kill, O_CLOEXEC, O_NONBLOCK, pipe } from "@longshore/syscalls";
import type { spawned } from "../reaper.ts";
import { FdSink } from "./fd-sink.ts";
import type { LoggingUri } from "./logging-uri.ts";
import { readSome, unwatch, watch } from "./readiness.ts";
import { Ring, RingSink } from "./ring-sink.ts";
import type { Sink } from "./sink.ts";

const SIGTERM = 15;
const SIGKILL = 9;
/** How long the program may take to say that it is ready. */
const READY_MS = 30_000;
/** How soon one that has died is started again. */
const RESTART_MS = 1000;
/** How long it may go on after the end of its input, and after SIGTERM then. */
const FINISH_MS = 3000;
const TERMINATE_MS = 12_000;

export interface LoggerOptions {
  /** The container's id, or the exec's. */
  id: string;
  namespace: string;
  /** The process's reaper. */
  spawned: typeof spawned;
  /** There is room again in what it reads. */
  onRoom: () => void;
  /** Start it again when it dies before its end. */
  restart?: boolean;
  /** Keep so much for it while it lags, and drop what is more, instead of waiting for it. */
  buffer?: { bytes: number; droppedFile: string | undefined } | undefined;
}

type Stream = "stdout" | "stderr";

interface Waiting {
  stream: Stream;
  bytes: Buffer;
}

/**
 * A program that takes a process's output, as containerd's `binary://` URIs define it: it reads stdout from descriptor 3 and
 * stderr from 4, closes 5 when it is ready, has the query for its arguments and `env.` parameters for its environment. It
 * is asked to end by the end of its input, and only when it stays by signals. Should it die, what it has not handed on is lost, and so is
 * what follows unless it is to be started again; the process goes on.
 */
export class BinaryLogger {
  readonly ready: Promise<void>;
  readonly #uri: LoggingUri;
  readonly #options: LoggerOptions;
  readonly #sinks: Record<Stream, Sink>;
  readonly #onRoom: Record<Stream, () => void>;
  #run: LoggerRun;
  /** Until it is started again output waits here. */
  #pause: { timer: Timer; waiting: Waiting[] } | undefined;
  #ending: Promise<void> | undefined;

  /** @throws EngineError `unknown` when it can't be started */
  constructor(uri: LoggingUri, options: LoggerOptions) {
    const { buffer, onRoom } = options;
    this.#uri = uri;
    this.#options = options;
    this.#onRoom = { stdout: onRoom, stderr: onRoom };
    this.#run = this.#start();
    const ring = buffer && new Ring(buffer.bytes, buffer.droppedFile);
    const sinkOf = (stream: Stream) => {
      if (!ring) return this.#through(stream);
      return new RingSink(ring, (resume) => {
        this.#onRoom[stream] = resume;
        return this.#through(stream);
      });
    };
    this.#sinks = { stdout: sinkOf("stdout"), stderr: sinkOf("stderr") };
    this.ready = this.#run.ready;
    this.ready.catch(() => {}); // told to who waits for it
  }

  /** Its closing only ends it: what waits is given up by `end`, not before the program had its time. */
  sink(stream: Stream): Sink {
    const sink = this.#sinks[stream];
    return { write: (bytes) => sink.write(bytes), end: () => sink.end(), close: () => sink.end() };
  }

  /** No more output will come. Settles when the program has ended. */
  end(): Promise<void> {
    this.#ending ??= this.#finish();
    return this.#ending;
  }

  /** Into whatever run of the program there is. */
  #through(stream: Stream): Sink {
    return {
      write: (bytes) => {
        if (!this.#pause) return this.#run.sinks[stream].write(bytes);
        this.#pause.waiting.push({ stream, bytes: Buffer.from(bytes) });
        return false;
      },
      end: () => {
        if (!this.#pause) this.#run.sinks[stream].end();
      },
      close: () => this.#run.sinks[stream].close(),
    };
  }

  #start(): LoggerRun {
    const run = startLogger(this.#uri, this.#options, (stream) => this.#onRoom[stream]());
    void run.exited.finally(() => {
      run.hasExited = true;
      if (run === this.#run && this.#options.restart && !this.#ending) this.#startLater();
    });
    return run;
  }

  #startLater(waiting: Waiting[] = []): void {
    for (const sink of Object.values(this.#run.sinks)) sink.close();
    this.#pause = { timer: setTimeout(() => this.#startAgain(), RESTART_MS), waiting };
  }

  #startAgain(): void {
    const { waiting = [] } = this.#pause ?? {};
    this.#pause = undefined;
    try {
      this.#run = this.#start();
    } catch {
      if (!this.#ending) this.#startLater(waiting); // the machine has no room for it just now
      return;
    }
    const { sinks } = this.#run;
    const streams = new Set(waiting.map(({ stream }) => stream));
    for (const { stream, bytes } of waiting) if (!sinks[stream].write(bytes)) streams.delete(stream);
    for (const stream of streams) this.#onRoom[stream]();
  }

  async #finish(): Promise<void> {
    if (this.#pause) {
      clearTimeout(this.#pause.timer);
      this.#startAgain();
    }
    const run = this.#run;
    const exitedWithin = (ms: number) => Promise.race([run.exited, Bun.sleep(ms)]);
    for (const sink of Object.values(this.#sinks)) sink.end();
    await exitedWithin(FINISH_MS);
    if (run.hasExited) return;
    kill(run.pid, SIGTERM);
    await exitedWithin(TERMINATE_MS);
    for (const sink of Object.values(this.#sinks)) sink.close();
    if (!run.hasExited) kill(run.pid, SIGKILL);
    await run.exited;
  }
}

/** The program from one start to its end. */
interface LoggerRun {
  readonly pid: number;
  readonly sinks: Record<Stream, FdSink>;
  readonly ready: Promise<void>;
  readonly exited: Promise<number>;
  hasExited: boolean;
}

/** @throws EngineError `unknown` when it can't be started */
function startLogger(
  { path, query }: LoggingUri,
  { id, namespace, spawned }: LoggerOptions,
  onRoom: (stream: Stream) => void,
): LoggerRun {
  const [stdout, stderr, ready] = [pipe(O_CLOEXEC), pipe(O_CLOEXEC), pipe(O_CLOEXEC)];
  let child: Bun.Subprocess;
  try {
    child = Bun.spawn([path, ...argumentsOf(query)], {
      cwd: "/",
      env: environmentOf(query, { CONTAINER_ID: id, CONTAINER_NAMESPACE: namespace }),
      stdio: ["ignore", "ignore", "ignore", stdout[0], stderr[0], ready[1]],
      detached: true,
    });
  } catch (error) {
    for (const fd of [ready[0], stdout[1], stderr[1]]) close(fd);
    const why = error instanceof Error ? error.message : String(error);
    throw new EngineError("unknown", `failed to start binary process: ${why}`, { cause: error });
  } finally {
    for (const fd of [stdout[0], stderr[0], ready[1]]) close(fd);
  }
  // A program that reads nothing must not hold up this process.
  for (const fd of [stdout[1], stderr[1]]) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  const isReady = readyAt(ready[0]);
  isReady.catch(() => {}); // told to who waits for it
  return {
    pid: child.pid,
    sinks: {
      stdout: new FdSink(stdout[1], () => onRoom("stdout")),
      stderr: new FdSink(stderr[1], () => onRoom("stderr")),
    },
    ready: isReady,
    exited: spawned(child),
    hasExited: false,
  };
}

/** Each parameter is two arguments: its name, and its value though that be empty. */
function argumentsOf(query: URLSearchParams): string[] {
  const names = new Set([...query.keys()].filter((name) => !name.startsWith("env.")));
  return [...names].flatMap((name) => [name, query.get(name) ?? ""]);
}

/** Nothing of ours. */
function environmentOf(query: URLSearchParams, own: Record<string, string>): Record<string, string> {
  const asked = [...query].filter(([name]) => name.startsWith("env."));
  return { ...Object.fromEntries(asked.map(([name, value]) => [name.slice("env.".length), value])), ...own };
}

/** Settles when the other end has written something or, as most do, closed its descriptor. */
async function readyAt(fd: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const watcher = {
    onReady() {
      if (readSome(fd)) resolve();
    },
  };
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(
    () =>
      late.reject(new EngineError("unknown", "failed to read from logging binary: it does not get ready")),
    READY_MS,
  );
  try {
    watch(fd, watcher);
    watcher.onReady();
    await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
    unwatch(watcher);
    close(fd);
  }
}
