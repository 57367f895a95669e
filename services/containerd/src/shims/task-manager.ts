import type { CreateTaskRequest } from "@longshore/api/containerd/runtime/task/v2/shim";
import type { Any } from "@longshore/api/google/protobuf/any";
import { EngineError, errorCode } from "@longshore/errors";
import type { Logger } from "@longshore/log";
import { isAlive } from "@longshore/syscalls";
import { KeyedLock } from "../keyed-lock.ts";
import { StopWatch } from "../stop-watch.ts";
import { timestampNow } from "../timestamp.ts";
import { writeBootstrap } from "./bootstrap.ts";
import { Bundle, type BundleDirs } from "./bundle.ts";
import { killProcessesIn } from "./bundle-processes.ts";
import { type ProcessExit, readExitRecords, wasTold } from "./exit-record.ts";
import type { ExitReporter } from "./exit-reporter.ts";
import { deleteWithShim, type ShimSurroundings, startShim } from "./shim-binary.ts";
import { connectShim, type ShimClient } from "./shim-client.ts";
import { followShimLog } from "./shim-log.ts";
import type { StandbyShim } from "./standby-shim.ts";
import { Task } from "./task.ts";

/** As the original: how long a shim may take to be cleaned up after, and to end. */
const CLEANUP_TIMEOUT_MS = 5000;
const SHUTDOWN_TIMEOUT_MS = 3000;

/** A shim that was told to end and has not is told again after this. */
const FAREWELL_STEP_MS = 500;

/** How long a shim that was told to end may take; ours gives its last events 3 s. */
const FAREWELL_MS = 10_000;

/** A shim forwards its exits itself; only when it has not done so this long after the end is its answer to Wait published. */
const EXIT_GRACE_MS = 500;

/** Status of a container whose shim died and that nobody saw end: killed. */
const KILLED = 137;

/** What `create` hands to the shim, verbatim. */
export type TaskInit = Pick<CreateTaskRequest, "rootfs" | "stdin" | "stdout" | "stderr" | "terminal">;

export interface CreateOptions extends TaskInit {
  /** Path of the shim. */
  binary: string;
  /** Of the runtime; both for the shim's start and for its Create. */
  options: Any | undefined;
  spec: Any | undefined;
  signal: AbortSignal;
}

export interface TaskManagerDeps {
  dirs: BundleDirs;
  surroundings: ShimSurroundings;
  /** None where it was not asked for. */
  standby: StandbyShim | undefined;
  log: Logger;
}

/** All tasks: starts and ends their shims, and cleans up after those that die. */
export class TaskManager implements AsyncDisposable {
  readonly #deps: TaskManagerDeps;
  readonly #tasks = new Map<string, Task>();
  readonly #lock = new KeyedLock();
  readonly #exits: ExitReporter;
  #ending = false;

  constructor(deps: TaskManagerDeps, exits: ExitReporter) {
    this.#deps = deps;
    this.#exits = exits;
  }

  find(namespace: string, id: string): Task | undefined {
    return this.#tasks.get(keyOf(namespace, id));
  }

  list(namespace: string): Task[] {
    return [...this.#tasks.values()].filter((task) => task.bundle.namespace === namespace);
  }

  /** Whether a shim with this queue for its events is in our charge. */
  usesQueue(namespace: string, queue: string): boolean {
    return this.list(namespace).some((task) => task.bundle.eventQueue === queue);
  }

  /**
   * Make the bundle, start the shim and let it create the container. On failure nothing of it remains.
   * @throws EngineError `already_exists`, or what the shim answered
   */
  async create(namespace: string, id: string, options: CreateOptions): Promise<Task> {
    using _ = await this.#lock.acquire(keyOf(namespace, id));
    if (this.find(namespace, id)) throw new EngineError("already_exists", `task ${id}: already exists`);
    const watch = new StopWatch();
    await using undo = new AsyncDisposableStack();
    const bundle = new Bundle(this.#deps.dirs, namespace, id);
    bundle.create(options.spec);
    undo.defer(() => this.#removeBundle(bundle));
    watch.lap("bundle");
    // A create that fails has taken the one that stood by, too.
    undo.defer(() => this.#deps.standby?.prepare());
    const task = await this.#launch(bundle, options, undo, watch);
    const { binary: _binary, spec: _spec, signal, ...init } = options;
    try {
      const request = { id, bundle: bundle.path, checkpoint: "", parentCheckpoint: "", ...init };
      task.pid = (await task.shim.create(request, { signal })).pid;
    } catch (error) {
      throw wrapped("failed to create shim task", error);
    }
    undo.move();
    this.adopt(task);
    this.#deps.standby?.prepare();
    watch.lap("create");
    this.#logOf(bundle).debug({ pid: task.pid, ms: watch.laps }, "task created");
    return task;
  }

  /**
   * Let the shim delete the container, then end the shim and remove the bundle.
   * @throws EngineError what the shim answered, e.g. `failed_precondition` while the container runs
   */
  async delete(task: Task): Promise<ProcessExit> {
    const { bundle } = task;
    const lock = await this.#lock.acquire(keyOf(bundle.namespace, bundle.id));
    const watch = new StopWatch();
    try {
      const deleted = await task.shim.delete({ id: bundle.id, execId: "" }).catch((error: unknown) => {
        if (errorCode(error) !== "not_found") throw error;
        return error as Error;
      });
      watch.lap("delete");
      task.leaving = true;
      this.#forget(task);
      await this.#shutDown(task);
      watch.lap("shutdown");
      this.#removeBundle(bundle);
      watch.lap("bundle");
      this.#logOf(bundle).debug({ ms: watch.laps }, "task deleted");
      // Someone else had the shim delete it; what remained is gone now.
      if (deleted instanceof Error) throw deleted;
      const { pid, exitStatus, exitedAt } = deleted;
      return { execId: "", pid, exitStatus, exitedAt: exitedAt ?? timestampNow() };
    } catch (error) {
      lock[Symbol.dispose]();
      const exit = await this.lostExit(task, "", error);
      if (exit) return exit;
      throw error;
    } finally {
      lock[Symbol.dispose]();
    }
  }

  /** The shim says that it has no such container: unless it is just being deleted, someone deleted it past us. */
  async forgetDeleted(task: Task): Promise<void> {
    const { namespace, id } = task.bundle;
    using _ = await this.#lock.acquire(keyOf(namespace, id));
    if (this.find(namespace, id) !== task || task.leaving) return;
    this.#logOf(task.bundle).warn("the shim's container was deleted by someone else");
    task.leaving = true;
    this.#forget(task);
    await this.#shutDown(task);
    this.#removeBundle(task.bundle);
  }

  /** After a call failed: the exit of a process when that was because its shim is gone, as soon as that was cleaned up. */
  async lostExit(task: Task, execId: string, error: unknown): Promise<ProcessExit | undefined> {
    if (errorCode(error) !== "unavailable") return undefined;
    // The failed call may be heard of before the closed connection is.
    await Promise.race([task.client.closed, Bun.sleep(CLEANUP_TIMEOUT_MS)]);
    await Bun.sleep(0);
    const exit = await task.lost;
    if (!exit || execId === "") return exit;
    return (
      readExitRecords(task.bundle.path).find((record) => record.execId === execId) ?? { ...exit, execId }
    );
  }

  /** Take charge of a task: from now on the end of its connection is the end of its shim. */
  adopt(task: Task): void {
    const { namespace, id } = task.bundle;
    this.#tasks.set(keyOf(namespace, id), task);
    this.#learnShimPid(task);
    void task.client.closed.then(() => {
      if (task.leaving || this.#ending) return;
      task.lost = this.#cleanUpLost(task);
    });
  }

  #forget(task: Task): void {
    const key = keyOf(task.bundle.namespace, task.bundle.id);
    if (this.#tasks.get(key) === task) this.#tasks.delete(key);
  }

  async #launch(
    bundle: Bundle,
    options: CreateOptions,
    undo: AsyncDisposableStack,
    watch: StopWatch,
  ): Promise<Task> {
    const { binary, signal } = options;
    const log = followShimLog(bundle.log, this.#logOf(bundle));
    undo.use(log);
    bundle.recordShim(binary);
    try {
      const { surroundings, standby } = this.#deps;
      const bootstrap = await startShim(binary, bundle, {
        options: options.options,
        surroundings,
        standby,
        signal,
      });
      watch.lap("start");
      writeBootstrap(bundle.path, bootstrap);
      const client = await connectShim(bootstrap);
      watch.lap("connect");
      const task = new Task({ bundle, binary, address: bootstrap.address, client, log });
      undo.defer(() => this.#discard(task, signal.aborted));
      return task;
    } catch (error) {
      killProcessesIn(bundle.path);
      throw wrapped("failed to start shim", error);
    }
  }

  /** End a shim that has no container, and remove its bundle. */
  async dismiss(task: Task): Promise<void> {
    using _ = await this.#lock.acquire(keyOf(task.bundle.namespace, task.bundle.id));
    await this.#discard(task, true);
    this.#removeBundle(task.bundle);
  }

  /**
   * End a shim whose container was not created, or not as far as we know: it may still be at it, and would then have a container that
   * nobody asks for. So it is told until it ends.
   * @param interrupted its client went while it created: a real shim then kills runc in the middle of it, and what runc had made by then
   * is left to `<shim> delete`
   */
  async #discard(task: Task, interrupted: boolean): Promise<void> {
    task.leaving = true;
    const { id, path } = task.bundle;
    const log = this.#logOf(task.bundle);
    const deadline = performance.now() + CLEANUP_TIMEOUT_MS;
    for (let over = false; !over && performance.now() < deadline; ) {
      const limit = { timeoutMs: CLEANUP_TIMEOUT_MS };
      await task.shim.delete({ id, execId: "" }, limit).catch((error: unknown) => {
        log.debug({ err: error }, "no task to delete");
      });
      await this.#askToEnd(task);
      over = this.#isShared(task) || (await endsWithin(task.client, FAREWELL_STEP_MS));
    }
    if (!this.#isShared(task) && !(await endsWithin(task.client, 0))) {
      log.error("shim without a container does not end; killing it");
      killProcessesIn(path);
    }
    if (interrupted) {
      const limit = AbortSignal.timeout(CLEANUP_TIMEOUT_MS);
      await deleteWithShim(task.binary, task.bundle, this.#deps.surroundings, limit).catch(
        (error: unknown) => {
          log.debug({ err: error }, "nothing of a container to delete");
        },
      );
    }
    this.#part(task);
  }

  async #shutDown(task: Task): Promise<void> {
    if (!(await this.#askToEnd(task)) && !this.#isShared(task)) killProcessesIn(task.bundle.path);
    this.#part(task);
  }

  /** Whether the shim has other containers, and goes on. */
  #isShared(task: Task): boolean {
    return [...this.#tasks.values()].some((other) => other !== task && other.address === task.address);
  }

  /** @returns whether the shim took notice */
  async #askToEnd(task: Task): Promise<boolean> {
    try {
      await task.shim.shutdown({ id: task.id, now: false }, { timeoutMs: SHUTDOWN_TIMEOUT_MS });
      return true;
    } catch (error) {
      // A shim that ends at once may not have answered: that is what was asked of it.
      if (errorCode(error) === "unavailable") return true;
      this.#logOf(task.bundle).error({ err: error }, "shim did not shut down");
      return false;
    }
  }

  #part(task: Task): void {
    task.leave();
    this.#adoptEvents(task).catch((error: unknown) => {
      // They stay where they are, for the next start.
      this.#logOf(task.bundle).warn({ err: error }, "events of a shim that has ended");
    });
  }

  /** A shim that was told to end still tries for a moment to deliver its last events. */
  async #adoptEvents({ bundle, shimPid }: Task): Promise<void> {
    const deadline = performance.now() + FAREWELL_MS;
    const lives = () => shimPid !== 0 && isAlive(shimPid);
    while (performance.now() < deadline && (shimPid === 0 || lives())) await Bun.sleep(50);
    if (this.#ending || lives() || this.usesQueue(bundle.namespace, bundle.eventQueue)) return;
    this.#deps.surroundings.outbox.adopt(bundle.namespace, bundle.eventQueue);
  }

  /** The connection of a shim in charge has ended: it is dead. */
  async #cleanUpLost(task: Task): Promise<ProcessExit> {
    const { bundle } = task;
    const log = this.#logOf(bundle);
    log.warn({ shimPid: task.shimPid }, "shim disconnected");
    using _ = await this.#lock.acquire(keyOf(bundle.namespace, bundle.id));
    task.leave();
    const exit = await this.cleanUpDead(bundle, task.binary, task.pid);
    this.#forget(task);
    return exit;
  }

  /**
   * Clean up after a dead shim by its own binary, tell of the exits, remove the bundle.
   * @param options `unborn`: the container was never created, so that there is no exit to tell of
   */
  async cleanUpDead(
    bundle: Bundle,
    binary: string,
    pid: number,
    { replay = false, unborn = false }: { replay?: boolean; unborn?: boolean } = {},
  ): Promise<ProcessExit> {
    const log = this.#logOf(bundle);
    // A daemon that was killed while its shim started may have left one that is still at it.
    if (unborn) killProcessesIn(bundle.path);
    const recorded = readExitRecords(bundle.path);
    let answered: ProcessExit | undefined;
    try {
      const deadline = AbortSignal.timeout(CLEANUP_TIMEOUT_MS);
      const response = await deleteWithShim(binary, bundle, this.#deps.surroundings, deadline);
      const { exitStatus, exitedAt = timestampNow() } = response;
      answered = { execId: "", pid: response.pid || pid, exitStatus, exitedAt };
    } catch (error) {
      log.warn({ err: error }, "failed to clean up after shim disconnected");
    }
    const exit = recorded.find(({ execId }) => execId === "") ??
      answered ?? { execId: "", pid, exitStatus: KILLED, exitedAt: timestampNow() };
    this.#deps.surroundings.outbox.adopt(bundle.namespace, bundle.eventQueue);
    if (!unborn) this.#tellDeath(bundle, recorded, exit, replay);
    this.#removeBundle(bundle);
    return exit;
  }

  #tellDeath(bundle: Bundle, recorded: readonly ProcessExit[], init: ProcessExit, replay: boolean): void {
    const execs = recorded.filter(({ execId }) => execId !== "");
    for (const exit of [...execs, init]) {
      if (!wasTold(bundle.path, exit)) this.#exits.report(bundle, exit, { replay });
    }
    this.#exits.reportDelete(bundle, init, { replay });
  }

  /** Publish the init process's exit from the shim's answer to Wait, should the shim itself not tell. */
  watchExit(task: Task): void {
    const { bundle } = task;
    void task.shim.wait({ id: bundle.id, execId: "" }).then(
      async ({ exitStatus, exitedAt = timestampNow() }) => {
        await Bun.sleep(EXIT_GRACE_MS);
        if (this.#ending) return;
        this.#exits.report(bundle, { execId: "", pid: task.pid, exitStatus, exitedAt });
      },
      (error: unknown) => this.#logOf(bundle).debug({ err: error }, "wait ended"),
    );
  }

  /** To be able to kill a shim that hangs. */
  #learnShimPid(task: Task): void {
    task.shimPid = task.bundle.shimPid();
    if (task.shimPid !== 0) return;
    task.shim.connect({ id: task.bundle.id }, { timeoutMs: CLEANUP_TIMEOUT_MS }).then(
      ({ shimPid }) => {
        task.shimPid = shimPid;
      },
      (error: unknown) => this.#logOf(task.bundle).debug({ err: error }, "shim did not tell its pid"),
    );
  }

  #removeBundle(bundle: Bundle): void {
    try {
      bundle.remove();
    } catch (error) {
      this.#logOf(bundle).error({ err: error }, "failed to delete bundle");
    }
  }

  #logOf({ namespace, id }: Bundle): Logger {
    return this.#deps.log.child({ namespace, id });
  }

  /** Let go of all shims; they and their containers go on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending = true;
    this.#deps.standby?.[Symbol.dispose]();
    for (const task of this.#tasks.values()) task.leave();
  }
}

function keyOf(namespace: string, id: string): string {
  return `${namespace}/${id}`;
}

async function endsWithin({ closed }: ShimClient, ms: number): Promise<boolean> {
  return await Promise.race([closed.then(() => true), Bun.sleep(ms).then(() => false)]);
}

/** The code of what happened below, and in front of its message what was being done. */
function wrapped(what: string, error: unknown): EngineError {
  const message = error instanceof Error ? error.message : String(error);
  return new EngineError(errorCode(error), `${what}: ${message}`, { cause: error });
}
