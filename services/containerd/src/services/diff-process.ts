import { EngineError } from "@longshore/errors";
import type { Logger } from "@longshore/log";
import type { DiffAnswer, DiffJob, LayerResult } from "./diff-messages.ts";

/** The argument that makes this executable a diff worker; not for people. */
export const DIFF_WORKER_ARGUMENT = "diff-worker";

/** A worker that was not needed for so long ends. */
const IDLE_MS = 10_000;

/** As many layers are unpacked at once; more would only fight over the disk. */
const MAX_WORKERS = 4;

interface Worker {
  readonly process: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly answers: AsyncIterator<string>;
  /** It gets no more jobs, though it may not have ended yet. */
  killed: boolean;
  idle?: ReturnType<typeof setTimeout>;
}

/** Gives jobs to diff workers, which are started when there is work and end when there is none. */
export class DiffProcesses implements AsyncDisposable {
  private readonly log: Logger;
  private readonly idle: Worker[] = [];
  private readonly running = new Set<Worker>();
  private readonly waiting: Array<(worker: Worker) => void> = [];
  private stopped = false;

  constructor(log: Logger) {
    this.log = log;
  }

  /** A layer will have to be unpacked soon: have a worker ready. */
  warm(): void {
    if (this.stopped || this.running.size > 0 || this.idle.length > 0) return;
    this.release(this.start());
  }

  /**
   * Have a job done.
   *
   * @param signal kills the worker
   * @param onOffset told how far an `apply` with progress has come
   * @throws EngineError whatever the worker reports
   */
  async run(
    job: DiffJob,
    signal: AbortSignal,
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
      worker.process.kill("SIGKILL");
    }
    await Promise.all(workers.map((worker) => worker.process.exited));
  }

  private async acquire(): Promise<Worker> {
    if (this.stopped) throw new EngineError("unavailable", "containerd is stopping: unavailable");
    for (let worker = this.idle.pop(); worker; worker = this.idle.pop()) {
      clearTimeout(worker.idle);
      if (!isAlive(worker)) continue;
      this.running.add(worker);
      return worker;
    }
    if (this.running.size < MAX_WORKERS) return this.start();
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  private start(): Worker {
    const process_ = Bun.spawn([process.execPath, DIFF_WORKER_ARGUMENT], {
      argv0: "containerd",
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
    });
    // Nobody waits for an idle one.
    process_.unref();
    const worker = { process: process_, answers: linesOf(process_.stdout), killed: false };
    this.running.add(worker);
    return worker;
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
      void worker.process.stdin.end();
    }, IDLE_MS);
    worker.idle.unref();
  }

  private forget(worker: Worker): void {
    this.running.delete(worker);
    const next = this.waiting.shift();
    if (next) next(this.start());
  }

  private async lost(worker: Worker, signal: AbortSignal): Promise<EngineError> {
    const exitCode = await worker.process.exited;
    if (signal.aborted) return new EngineError("canceled", "context canceled");
    this.log.error({ exitCode, signal: worker.process.signalCode }, "diff worker died");
    return new EngineError("internal", `diff worker died (${worker.process.signalCode ?? exitCode})`);
  }
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
