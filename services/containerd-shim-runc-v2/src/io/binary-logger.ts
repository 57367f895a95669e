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
  /** Keep so much for it while it lags, and drop what is more, instead of waiting for it. */
  buffer?: { bytes: number; droppedFile: string | undefined } | undefined;
}

/**
 * A program that takes a process's output, as containerd's `binary://` URIs define it: it reads stdout from descriptor 3 and
 * stderr from 4, closes 5 when it is ready, has the query for its arguments and `env.` parameters for its environment. It
 * is asked to end by the end of its input, and only when it stays by signals. Should it die, the output is dropped, and the
 * process goes on.
 */
export class BinaryLogger {
  readonly ready: Promise<void>;
  readonly #sinks: Record<"stdout" | "stderr", Sink>;
  readonly #child: Bun.Subprocess;
  readonly #exited: Promise<number>;
  #hasExited = false;
  #ending: Promise<void> | undefined;

  /** @throws EngineError `unknown` when it can't be started */
  constructor({ path, query }: LoggingUri, { id, namespace, onRoom, spawned, buffer }: LoggerOptions) {
    const [stdout, stderr, ready] = [pipe(O_CLOEXEC), pipe(O_CLOEXEC), pipe(O_CLOEXEC)];
    try {
      this.#child = Bun.spawn([path, ...argumentsOf(query)], {
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
    const ring = buffer && new Ring(buffer.bytes, buffer.droppedFile);
    const sinkOf = (fd: number) =>
      ring ? new RingSink(ring, (resume) => new FdSink(fd, resume)) : new FdSink(fd, onRoom);
    this.#sinks = { stdout: sinkOf(stdout[1]), stderr: sinkOf(stderr[1]) };
    this.#exited = spawned(this.#child).finally(() => {
      this.#hasExited = true;
    });
    this.ready = readyAt(ready[0]);
    this.ready.catch(() => {}); // told to who waits for it
  }

  sink(stream: "stdout" | "stderr"): Sink {
    return this.#sinks[stream];
  }

  /** No more output will come. Settles when the program has ended. */
  end(): Promise<void> {
    this.#ending ??= this.#finish();
    return this.#ending;
  }

  async #finish(): Promise<void> {
    for (const sink of Object.values(this.#sinks)) sink.end();
    await this.#exitedWithin(FINISH_MS);
    if (this.#hasExited) return;
    kill(this.#child.pid, SIGTERM);
    await this.#exitedWithin(TERMINATE_MS);
    for (const sink of Object.values(this.#sinks)) sink.close();
    if (!this.#hasExited) kill(this.#child.pid, SIGKILL);
    await this.#exited;
  }

  #exitedWithin(ms: number): Promise<unknown> {
    return Promise.race([this.#exited, Bun.sleep(ms)]);
  }
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
