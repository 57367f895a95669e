import type { CreateTaskRequest, ExecProcessRequest } from "@longshore/api/containerd/runtime/task/v2/shim";
import type { Options } from "@longshore/api/containerd/types/runc/options/oci";
import type { Any } from "@longshore/api/google/protobuf/any";
import { EngineError, isErrno } from "@longshore/errors";
import { kill, mkdirAll, readText, writeFile } from "@longshore/syscalls";
import { membershipOf } from "./cgroup.ts";
import type { EventSender } from "./event-sender.ts";
import { forgetExit, recordExit } from "./exit-record.ts";
import { ProcessIo, type StdioRequest, type SuspendedIo } from "./io/process-io.ts";
import { shimCgroup } from "./load.ts";
import { log } from "./log.ts";
import { ManagedProcess, type SuspendedProcess } from "./managed-process.ts";
import { OomTeller, type SuspendedOom } from "./oom.ts";
import { runcOptions } from "./options.ts";
import { removeIfThere } from "./paths.ts";
import { isOurs, onEnd, type ProcessEnd, whileStarting } from "./reaper.ts";
import { mountRootfs, unmountAll } from "./rootfs.ts";
import { findRunc, Runc } from "./runc.ts";

export interface TaskSurroundings {
  namespace: string;
  /** A short directory for sockets. */
  socketDirectory: string;
  events: EventSender;
}

/** A task whose shim goes on in another program. Plain data. */
export interface SuspendedTask {
  readonly id: string;
  readonly bundle: string;
  readonly runtime: { readonly binary: string; readonly root: string; readonly systemdCgroup: boolean };
  readonly ioUid: number;
  readonly ioGid: number;
  /** Whether its root was mounted here. */
  readonly isMounted: boolean;
  readonly oom: SuspendedOom;
  /** The init process, and running execs. */
  readonly processes: readonly SuspendedProcess[];
}

type OwnerOptions = Pick<Options, "ioUid" | "ioGid">;

const SIGKILL = 9;
const DEFAULT_ROOT = "/run/containerd/runc";

/** A container's task: its init process and its execs. */
export class Task {
  readonly id: string;
  readonly bundle: string;
  readonly init: ManagedProcess;
  readonly #surroundings: TaskSurroundings;
  readonly #runtime: SuspendedTask["runtime"];
  readonly #runc: Runc;
  readonly #options: OwnerOptions;
  readonly #isMounted: boolean;
  readonly #execs = new Map<string, ManagedProcess>();
  readonly #oom = new OomTeller(
    () => this.#surroundings.events.send("/tasks/oom", { containerId: this.id }),
    (error) => log().warn({ id: this.id, err: error }, "out of memory is not watched for"),
  );

  /**
   * Make the container: mount its root, have the runtime create it. On failure nothing is left.
   *
   * @throws EngineError `unknown` with the runtime's message; `invalid_argument`, `not_found`, `unimplemented` for what was
   * asked
   */
  static async create(request: CreateTaskRequest, surroundings: TaskSurroundings): Promise<Task> {
    if (request.checkpoint !== "") {
      throw new EngineError("unimplemented", "restoring from a checkpoint is not supported");
    }
    const { bundle } = request;
    const options = runcOptions(request.options);
    if (options.shimCgroup !== "") {
      const { joinCgroup } = shimCgroup();
      joinCgroup(options.shimCgroup);
    }
    const root = `${options.root || DEFAULT_ROOT}/${surroundings.namespace}`;
    const { binaryName: binary, systemdCgroup } = options;
    const runtime = { binary: findRunc(binary), root, systemdCgroup };
    // For `delete`, should this process be lost.
    writeFile(`${bundle}/options.json`, JSON.stringify(runtime));
    const isMounted = request.rootfs.length > 0;
    if (isMounted) {
      mkdirAll(rootfsOf(bundle), 0o711);
      mountRootfs(request.rootfs, rootfsOf(bundle));
    }
    try {
      const task = new Task(request, { surroundings, runtime, options, isMounted });
      await task.#create(options);
      return task;
    } catch (error) {
      if (isMounted) unmountAll(rootfsOf(bundle));
      throw error;
    }
  }

  /** Go on with a task where an earlier program in this process was. */
  static resume(suspended: SuspendedTask, surroundings: TaskSurroundings): Task {
    const { id, bundle, runtime, isMounted, oom } = suspended;
    const [init, ...execs] = suspended.processes;
    if (!init) throw new Error("a task without a process");
    const options = { ioUid: suspended.ioUid, ioGid: suspended.ioGid };
    const task = new Task({ id, bundle, ...init.stdio }, { surroundings, runtime, options, isMounted, init });
    task.init.resume(init);
    for (const exec of execs) {
      const process = task.#process(exec.execId, exec.stdio, { io: exec.io });
      task.#execs.set(exec.execId, process);
      process.resume(exec);
    }
    task.#oom.resume(oom);
    return task;
  }

  private constructor(
    { id, bundle, ...stdio }: StdioRequest & { id: string; bundle: string },
    parts: {
      surroundings: TaskSurroundings;
      runtime: SuspendedTask["runtime"];
      options: OwnerOptions;
      isMounted: boolean;
      init?: SuspendedProcess;
    },
  ) {
    this.id = id;
    this.bundle = bundle;
    this.#surroundings = parts.surroundings;
    this.#runtime = parts.runtime;
    this.#runc = new Runc({ ...parts.runtime, bundle });
    this.#options = parts.options;
    this.#isMounted = parts.isMounted;
    this.init = this.#process("", stdio, { io: parts.init?.io });
  }

  /** What another program needs to go on with this; undefined while something is under way. */
  get suspended(): SuspendedTask | undefined {
    const processes = [this.init, ...this.#execs.values()].map((process) => process.suspended);
    if (processes.includes(undefined)) return undefined;
    const { ioUid, ioGid } = this.#options;
    return {
      id: this.id,
      bundle: this.bundle,
      runtime: this.#runtime,
      ioUid,
      ioGid,
      isMounted: this.#isMounted,
      oom: this.#oom.suspended,
      processes: processes as SuspendedProcess[],
    };
  }

  /** Whether the init process has not ended. */
  get isAlive(): boolean {
    return this.init.end === undefined;
  }

  /** @throws EngineError `not_found` */
  process(execId: string): ManagedProcess {
    const found = execId === "" ? this.init : this.#execs.get(execId);
    if (!found) throw new EngineError("not_found", `process does not exist ${execId}`);
    return found;
  }

  get execs(): ReadonlyMap<string, ManagedProcess> {
    return this.#execs;
  }

  async start(execId: string): Promise<number> {
    const process = this.process(execId);
    process.check("start");
    const { events } = this.#surroundings;
    process.hold();
    try {
      if (execId === "") {
        await this.#runc.run("OCI runtime start failed", ["start", this.id]);
        // It may have ended already; the news of that waits for the news of this.
        process.move("start");
        events.send("/tasks/start", { containerId: this.id, pid: process.pid });
        if (this.isAlive) this.#oom.started();
      } else {
        await this.#startExec(process);
        events.send("/tasks/exec-started", { containerId: this.id, execId, pid: process.pid });
      }
    } finally {
      process.release();
    }
    return process.pid;
  }

  /** Add an exec process, to be started later. */
  exec(request: ExecProcessRequest): void {
    const { execId, spec } = request;
    if (this.#execs.has(execId)) throw new EngineError("already_exists", `id ${execId}`);
    if (execId === "" || !/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(execId)) {
      throw new EngineError("invalid_argument", `exec id ${JSON.stringify(execId)} is not an identifier`);
    }
    if (this.init.status !== "running") {
      throw new EngineError("failed_precondition", `cannot exec in a ${this.init.status} state`);
    }
    if (!spec) throw new EngineError("invalid_argument", "exec without a process specification");
    this.#execs.set(execId, this.#process(execId, request, { spec: spec.value }));
    this.#surroundings.events.send("/tasks/exec-added", { containerId: this.id, execId });
  }

  async pause(): Promise<void> {
    this.init.check("pause");
    await this.#runc.run("OCI runtime pause failed", ["pause", this.id]);
    if (!this.isAlive) return;
    this.init.move("pause");
    this.#surroundings.events.send("/tasks/paused", { containerId: this.id });
  }

  async resume(): Promise<void> {
    this.init.check("resume");
    await this.#runc.run("OCI runtime resume failed", ["resume", this.id]);
    if (!this.isAlive) return;
    this.init.move("resume");
    this.#surroundings.events.send("/tasks/resumed", { containerId: this.id });
  }

  async kill(execId: string, signal: number, all: boolean): Promise<void> {
    const process = this.process(execId);
    const pid = process.requireRunning();
    // We are the parent and have not reaped it: the number is the process. A frozen container needs the runtime's thawing.
    if (execId === "" && (all || (signal === SIGKILL && process.status === "paused"))) {
      await this.#runc.run("OCI runtime kill failed", [
        "kill",
        ...(all ? ["--all"] : []),
        this.id,
        String(signal),
      ]);
      return;
    }
    try {
      kill(pid, signal);
    } catch (error) {
      if (isErrno(error, "ESRCH"))
        throw new EngineError("not_found", "process already finished", { cause: error });
      if (isErrno(error, "EINVAL"))
        throw new EngineError("invalid_argument", `unknown signal ${signal}`, { cause: error });
      throw error;
    }
  }

  async update(resources: Any | undefined): Promise<void> {
    if (this.init.status === "stopped") {
      throw new EngineError("failed_precondition", "cannot update a stopped container");
    }
    const args = ["update", "--resources", "-", this.id];
    await this.#runc.run("OCI runtime update failed", args, { stdin: resources?.value ?? Buffer.from("{}") });
  }

  /** @throws EngineError `failed_precondition` for a process that runs */
  async delete(execId: string): Promise<ManagedProcess> {
    const process = this.process(execId);
    process.check("delete");
    if (execId !== "") {
      process.move("delete");
      this.#execs.delete(execId);
      await process.dispose();
      forgetExit(this.bundle, execId);
      return process;
    }
    this.#oom.close();
    await this.#deleteContainer();
    process.move("delete");
    await process.dispose();
    for (const exec of this.#execs.values()) await exec.dispose();
    if (this.#isMounted) unmountAll(rootfsOf(this.bundle));
    const { status: exitStatus = 0, at: exitedAt } = process.end ?? {};
    this.#surroundings.events.send("/tasks/delete", {
      containerId: this.id,
      pid: process.pid,
      exitStatus,
      exitedAt,
      id: "",
    });
    return process;
  }

  async #deleteContainer(): Promise<void> {
    try {
      const force = this.isAlive ? ["--force"] : [];
      await this.#runc.run("OCI runtime delete failed", ["delete", ...force, this.id]);
    } catch (error) {
      // Somebody else deleted it: what we want.
      if (!(error instanceof Error && error.message.includes("does not exist"))) throw error;
    }
  }

  #process(
    execId: string,
    request: StdioRequest,
    { spec, io: suspended }: { spec?: Uint8Array; io?: SuspendedIo | undefined },
  ): ManagedProcess {
    const { terminal, stdin, stdout, stderr } = request;
    const io = new ProcessIo(
      { terminal, stdin, stdout, stderr },
      {
        bundle: this.bundle,
        socketDirectory: this.#surroundings.socketDirectory,
        uid: this.#options.ioUid,
        gid: this.#options.ioGid,
        id: execId || this.id,
        namespace: this.#surroundings.namespace,
        onTrouble: (what, error) => log().warn({ id: this.id, execId, err: error }, what),
      },
      suspended,
    );
    return new ManagedProcess(execId, io, {
      ...(spec && { spec }),
      record: (end) => this.#record(execId, end),
      onExit: (process, end) => this.#exited(process, end),
    });
  }

  async #create({ noPivotRoot, noNewKeyring }: Options): Promise<void> {
    const pidFile = `${this.bundle}/init.pid`;
    const { init } = this;
    const args = [
      ...["create", "--bundle", this.bundle, "--pid-file", pidFile],
      ...(init.io.consolePath ? ["--console-socket", init.io.consolePath] : []),
      ...(noPivotRoot ? ["--no-pivot"] : []),
      ...(noNewKeyring ? ["--no-new-keyring"] : []),
      this.id,
    ];
    try {
      await init.io.ready();
      await whileStarting(async () => {
        await this.#runc.run("OCI runtime create failed", args, { stdio: init.io.child });
        try {
          init.io.begin();
          init.pid = readPid(pidFile);
        } catch (error) {
          await this.#runc.run("OCI runtime delete failed", ["delete", "--force", this.id]);
          throw error;
        }
        const { terminal, stdin, stdout, stderr } = init.io.request;
        this.#surroundings.events.send("/tasks/create", {
          containerId: this.id,
          bundle: this.bundle,
          rootfs: [],
          io: { terminal, stdin, stdout, stderr },
          checkpoint: "",
          pid: init.pid,
        });
        this.#oom.created(membershipOf(init.pid));
        onEnd(init.pid, (end) => init.exited(end));
      });
    } catch (error) {
      init.io.close();
      throw error;
    }
  }

  async #startExec(process: ManagedProcess): Promise<void> {
    const { execId, io } = process;
    const specFile = `${this.bundle}/${execId}.process.json`;
    const pidFile = `${this.bundle}/${execId}.pid`;
    const spec = JSON.parse(Buffer.from(process.spec ?? []).toString()) as Record<string, unknown>;
    writeFile(specFile, JSON.stringify({ ...spec, terminal: io.request.terminal }), { mode: 0o600 });
    const args = [
      ...["exec", "--process", specFile, "--detach", "--pid-file", pidFile],
      ...(io.consolePath ? ["--console-socket", io.consolePath] : []),
      this.id,
    ];
    try {
      await io.ready();
      await whileStarting(async () => {
        await this.#runc.run("OCI runtime exec failed", args, { stdio: io.child });
        process.pid = readPid(pidFile);
        process.move("start");
        onEnd(process.pid, (end) => process.exited(end));
        io.begin();
      });
    } catch (error) {
      io.close();
      throw error;
    } finally {
      removeIfThere(specFile);
      removeIfThere(pidFile);
    }
  }

  #record(execId: string, end: ProcessEnd): void {
    // NATS takes as long to let somebody in as a disk to write.
    this.#surroundings.events.expectExit();
    try {
      recordExit(this.bundle, execId, end);
    } catch (error) {
      log().error({ id: this.id, execId, err: error }, "exit not recorded");
    }
  }

  #exited({ execId }: ManagedProcess, { pid, status, at }: ProcessEnd): void {
    if (status === 128 + SIGKILL) this.#oom.look();
    this.#surroundings.events.send("/tasks/exit", {
      containerId: this.id,
      id: execId || this.id,
      pid,
      exitStatus: status,
      exitedAt: at,
    });
  }
}

function rootfsOf(bundle: string): string {
  return `${bundle}/rootfs`;
}

/**
 * Read the pid of a process that the runtime has left to us as a subreaper. A number that is not our child's is refused: whatever
 * the runtime or the container wrote there, no signal goes to a process of the host.
 */
function readPid(file: string): number {
  const pid = Number(readText(file));
  if (!Number.isInteger(pid) || pid <= 0) {
    throw new EngineError("internal", `the runtime wrote no pid to ${file}`);
  }
  if (isOurs(pid)) return pid;
  throw new EngineError(
    "internal",
    `the runtime wrote a pid to ${file} that is not a child of the shim: ${pid}`,
  );
}
