import fs from "node:fs";
import { EngineError } from "@longshore/errors";
import type { Logger } from "@longshore/log";
import { sendFds, socketpair } from "@longshore/syscalls";
import type { CreateJob, DiffAnswer, LayerResult, UnpackJob } from "./diff-messages.ts";

const SOCK_STREAM = 1;

/** As many descriptors are sent in one message. */
const DESCRIPTORS_AT_ONCE = 16;

/** For a process that at first only starts itself again: without threads that it doesn't need. */
const START = {
  BUN_JSC_useConcurrentJIT: "0",
  BUN_JSC_numberOfGCMarkers: "1",
  BUN_JSC_useConcurrentGC: "0",
};

/** The arguments that make this executable a worker; not for people. */
export type WorkerArguments =
  | readonly ["diff-worker"]
  | readonly ["unpack-worker"]
  | readonly ["unpack-worker", "--unconfined"];

/** A worker that was not needed for so long ends. */
const IDLE_MS = 10_000;

/** As many layers are unpacked at once; more would only fight over the disk. */
const MAX_WORKERS = 4;

interface Worker {
  readonly process: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly answers: AsyncIterator<string>;
  /** Descriptors are sent over it; undefined in a worker that gets none. */
  socket: number | undefined;
  /** It gets no more jobs, though it may not have ended yet. */
  killed: boolean;
  idle?: ReturnType<typeof setTimeout>;
}

/** Gives jobs to workers of one kind, which are started when there is work and end when there is none. */
export class DiffProcesses implements AsyncDisposable {
  private readonly log: Logger;
  private readonly kind: WorkerArguments;
  private readonly idle: Worker[] = [];
  private readonly running = new Set<Worker>();
  private readonly waiting: Array<(worker: Worker) => void> = [];
  private stopped = false;

  constructor(log: Logger, kind: WorkerArguments) {
    this.log = log;
    this.kind = kind;
  }

  /** A layer will have to be unpacked soon: have a worker ready. */
  warm(): void {
    if (this.stopped || this.running.size > 0 || this.idle.length > 0) return;
    this.release(this.start());
  }

  /**
   * Have a job done.
   *
   * @param descriptors for the worker; they stay the caller's
   * @param signal kills the worker
   * @param onOffset told how far an unpacking with progress has come
   * @throws EngineError whatever the worker reports
   */
  async run(
    job: CreateJob | UnpackJob,
    { descriptors = [], signal }: { descriptors?: readonly number[]; signal: AbortSignal },
    onOffset: (offset: number) => void = () => {},
  ): Promise<LayerResult> {
    signal.throwIfAborted();
    const worker = await this.acquire();
    const kill = () => {
      worker.killed = true;
      worker.process.kill("SIGKILL");
    };
    signal.addEventListener("abort", kill, { once: true });
    try {
      signal.throwIfAborted();
      this.send(worker, descriptors);
      worker.process.stdin.write(`${JSON.stringify(job)}\n`);
      await worker.process.stdin.flush();
      for (;;) {
        const { value, done } = await worker.answers.next();
        if (done) throw await this.lost(worker, signal);
        const answer = JSON.parse(value) as DiffAnswer;
        if ("error" in answer) throw new EngineError(answer.error.code, answer.error.message);
        if ("result" in answer) return answer.result;
        onOffset(answer.offset);
      }
    } finally {
      signal.removeEventListener("abort", kill);
      if (isAlive(worker)) this.release(worker);
      else this.forget(worker);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stopped = true;
    const workers = [...this.idle, ...this.running];
    for (const worker of workers) {
      clearTimeout(worker.idle);
      closeSocket(worker);
      worker.process.kill("SIGKILL");
    }
    await Promise.all(workers.map((worker) => worker.process.exited));
  }

  private async acquire(): Promise<Worker> {
    if (this.stopped) throw new EngineError("unavailable", "containerd is stopping: unavailable");
    for (let worker = this.idle.pop(); worker; worker = this.idle.pop()) {
      clearTimeout(worker.idle);
      if (!isAlive(worker)) {
        closeSocket(worker);
        continue;
      }
      this.running.add(worker);
      return worker;
    }
    if (this.running.size < MAX_WORKERS) return this.start();
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  private start(): Worker {
    const unpacks = this.kind[0] === "unpack-worker";
    const [socket, theirs] = unpacks ? socketpair(SOCK_STREAM) : [undefined, undefined];
    try {
      const process_ = Bun.spawn([process.execPath, ...this.kind], {
        argv0: "containerd",
        // Nothing of the daemon's own is for a process that parses what strangers wrote.
        ...(unpacks ? { env: START } : {}),
        stdio: ["pipe", "pipe", unpacks ? "ignore" : "inherit", ...(theirs === undefined ? [] : [theirs])],
      }) as Worker["process"];
      // Nobody waits for an idle one.
      process_.unref();
      const worker = { process: process_, answers: linesOf(process_.stdout), socket, killed: false };
      this.running.add(worker);
      return worker;
    } catch (error) {
      if (socket !== undefined) fs.closeSync(socket);
      throw error;
    } finally {
      if (theirs !== undefined) fs.closeSync(theirs);
    }
  }

  private send({ socket }: Worker, descriptors: readonly number[]): void {
    if (socket === undefined) return;
    for (let at = 0; at < descriptors.length; at += DESCRIPTORS_AT_ONCE) {
      sendFds(socket, Buffer.of(0), descriptors.slice(at, at + DESCRIPTORS_AT_ONCE));
    }
  }

  private release(worker: Worker): void {
    const next = this.waiting.shift();
    if (next) {
      next(worker);
      return;
    }
    this.running.delete(worker);
    this.idle.push(worker);
    worker.idle = setTimeout(() => {
      this.idle.splice(this.idle.indexOf(worker), 1);
      closeSocket(worker);
      void worker.process.stdin.end();
    }, IDLE_MS);
    worker.idle.unref();
  }

  private forget(worker: Worker): void {
    closeSocket(worker);
    this.running.delete(worker);
    const next = this.waiting.shift();
    if (next) next(this.start());
  }

  private async lost(worker: Worker, signal: AbortSignal): Promise<EngineError> {
    const exitCode = await worker.process.exited;
    if (signal.aborted) return new EngineError("canceled", "context canceled");
    const [kind] = this.kind;
    this.log.error({ exitCode, kind, signal: worker.process.signalCode }, "worker died");
    return new EngineError("internal", `${kind} died (${worker.process.signalCode ?? exitCode})`);
  }
}

function closeSocket(worker: Worker): void {
  if (worker.socket !== undefined) fs.closeSync(worker.socket);
  worker.socket = undefined;
}

function isAlive({ process: { exitCode, signalCode }, killed }: Worker): boolean {
  return !killed && exitCode === null && signalCode === null;
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let pending = "";
  for await (const chunk of stream) {
    pending += decoder.decode(chunk, { stream: true });
    for (let end = pending.indexOf("\n"); end !== -1; end = pending.indexOf("\n")) {
      yield pending.slice(0, end);
      pending = pending.slice(end + 1);
    }
  }
}
