import { EngineError } from "@longshore/errors";
import type { ProcessIo, StdioRequest, SuspendedIo } from "./io/process-io.ts";
import { nextStatus, type ProcessMove, type ProcessStatus } from "./process-status.ts";
import { onEnd, type ProcessEnd } from "./reaper.ts";

/** How long an exit waits to be told for output that a leftover process still holds open. */
const LEFTOVER_MS = 200;
/** How long a delete waits for output that was not delivered yet. */
const DELIVERY_MS = 2000;

/** A process whose shim goes on in another program. Plain data. */
export interface SuspendedProcess {
  readonly execId: string;
  readonly pid: number;
  readonly status: "running" | "paused";
  readonly stdio: StdioRequest;
  readonly io: SuspendedIo;
}

/** One process of a container: its state, its stdio, its end. */
export class ManagedProcess {
  readonly kind: "init" | "exec";
  /** Empty for the init process. */
  readonly execId: string;
  readonly io: ProcessIo;
  /** The exec's process specification, JSON. */
  readonly spec: Uint8Array | undefined;
  readonly #ended = Promise.withResolvers<ProcessEnd>();
  readonly #onExit: (process: ManagedProcess, end: ProcessEnd) => void;
  #record: (end: ProcessEnd) => void;
  #untold: ProcessEnd | undefined;
  #held = false;
  #isGone = false;
  status: ProcessStatus = "created";
  pid = 0;
  end: ProcessEnd | undefined;

  /**
   * @param record writes an exit down before anyone hears of it
   * @param onExit tells it, when all output is delivered or nearly so
   */
  constructor(
    execId: string,
    io: ProcessIo,
    {
      spec,
      record,
      onExit,
    }: {
      spec?: Uint8Array;
      record: (end: ProcessEnd) => void;
      onExit: (process: ManagedProcess, end: ProcessEnd) => void;
    },
  ) {
    this.kind = execId === "" ? "init" : "exec";
    this.execId = execId;
    this.io = io;
    this.spec = spec;
    this.#record = record;
    this.#onExit = onExit;
  }

  /** Settles when the process has ended. */
  get ended(): Promise<ProcessEnd> {
    return this.#ended.promise;
  }

  /** What another program needs to go on with this; undefined while something is under way, and before and after it runs. */
  get suspended(): SuspendedProcess | undefined {
    const { execId, pid, status } = this;
    if ((status !== "running" && status !== "paused") || this.#held || this.end) return undefined;
    const io = this.io.suspended;
    return io && { execId, pid, status, stdio: this.io.request, io };
  }

  /** Go on where an earlier program was. */
  resume({ pid, status }: SuspendedProcess): void {
    this.pid = pid;
    this.status = status;
    this.io.begin();
    onEnd(pid, (end) => this.exited(end));
  }

  move(to: ProcessMove): void {
    this.status = nextStatus(this.kind, this.status, to);
  }

  /** @throws EngineError `failed_precondition` when the move is not legal now */
  check(move: ProcessMove): void {
    nextStatus(this.kind, this.status, move);
  }

  /** Hold back the news of an exit until `release`: nobody shall hear of an end before the start. */
  hold(): void {
    this.#held = true;
  }

  release(): void {
    this.#held = false;
    const end = this.#untold;
    this.#untold = undefined;
    if (end) void this.#tell(end);
  }

  /** The process has ended: called once, by the reaper. */
  exited(end: ProcessEnd): void {
    this.#record(end);
    this.end = end;
    if (this.#held) this.#untold = end;
    else void this.#tell(end);
  }

  /** Give the stdio back, after a last chance to deliver what it holds. */
  async dispose(): Promise<void> {
    if (this.#isGone) return;
    this.#isGone = true;
    if (this.end && !this.io.drain()) await Promise.race([this.io.done, Bun.sleep(DELIVERY_MS)]);
    this.io.close();
    // What they write is whole when the answer is there.
    await this.io.finish();
  }

  /** @throws EngineError `not_found` when it has ended or never began */
  requireRunning(): number {
    if (this.pid > 0 && !this.end) return this.pid;
    throw new EngineError("not_found", "process already finished");
  }

  async #tell(end: ProcessEnd): Promise<void> {
    this.move("exit");
    const all = this.io.drain();
    this.#ended.resolve(end);
    if (!all) await Promise.race([this.io.done, Bun.sleep(LEFTOVER_MS)]);
    else await this.io.done;
    this.#onExit(this, end);
  }
}
