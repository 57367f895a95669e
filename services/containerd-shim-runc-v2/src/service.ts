import type { StateResponse, TaskDefinition } from "@longshore/api/containerd/runtime/task/v2/shim";
import { ProcessDetails } from "@longshore/api/containerd/types/runc/options/oci";
import { Status } from "@longshore/api/containerd/types/task/task";
import { VERSION } from "@longshore/cli";
import { EngineError } from "@longshore/errors";
import type { TtrpcHandlers } from "@longshore/ttrpc";
import { containerCgroup, pidsOf } from "./cgroup.ts";
import { stats } from "./load.ts";
import type { ManagedProcess } from "./managed-process.ts";
import type { ProcessStatus } from "./process-status.ts";
import { type SuspendedTask, Task, type TaskSurroundings } from "./task.ts";

const STATUS: Record<ProcessStatus, Status> = {
  created: Status.CREATED,
  running: Status.RUNNING,
  paused: Status.PAUSED,
  stopped: Status.STOPPED,
  deleted: Status.STOPPED,
};

export interface ServiceOptions extends TaskSurroundings {
  /** A task was deleted while others are left: the bundle of one of these. */
  onLeft: (bundle: string) => void;
  /** No tasks are left and containerd asked to end. */
  onShutdown: () => void;
}

const SIGKILL = 9;

export interface TaskService {
  handlers: TtrpcHandlers<TaskDefinition>;
  /** Kill what runs; settles when its end is recorded. */
  killAll(): Promise<void>;
  /** What another program needs to go on with the tasks; undefined when there are none, and while something is under way. */
  suspend(): SuspendedTask[] | undefined;
  /** Go on with them. */
  resume(suspended: readonly SuspendedTask[]): void;
}

/** containerd's task service, versions 2 and 3 alike. */
export function taskService(options: ServiceOptions): TaskService {
  const tasks = new Map<string, Task>();
  const creating = new Set<string>();

  const task = (id: string): Task => {
    const found = tasks.get(id);
    if (!found) throw new EngineError("not_found", `container not created`);
    return found;
  };

  const killAll = async () => {
    while (creating.size > 0) await Bun.sleep(10);
    for (const running of tasks.values()) {
      if (!running.isAlive) continue;
      await running.kill("", SIGKILL, true);
      await running.init.ended;
    }
  };

  const suspend = () => {
    if (creating.size > 0 || tasks.size === 0) return undefined;
    const suspended = [...tasks.values()].map((running) => running.suspended);
    return suspended.includes(undefined) ? undefined : (suspended as SuspendedTask[]);
  };

  const handlers: TtrpcHandlers<TaskDefinition> = {
    async create(request) {
      const { id } = request;
      if (tasks.has(id) || creating.has(id))
        throw new EngineError("already_exists", `task ${id} already exists`);
      creating.add(id);
      try {
        const made = await Task.create(request, options);
        tasks.set(id, made);
        return { pid: made.init.pid };
      } finally {
        creating.delete(id);
      }
    },
    async start({ id, execId }) {
      return { pid: await task(id).start(execId) };
    },
    async delete({ id, execId }) {
      const { pid, end } = await task(id).delete(execId);
      if (execId === "") {
        tasks.delete(id);
        const [left] = tasks.values();
        if (left) options.onLeft(left.bundle);
      }
      return { pid, exitStatus: end?.status ?? 0, exitedAt: end?.at };
    },
    state({ id, execId }) {
      return stateOf(task(id), task(id).process(execId));
    },
    async wait({ id, execId }) {
      const { status, at } = await task(id).process(execId).ended;
      return { exitStatus: status, exitedAt: at };
    },
    async kill({ id, execId, signal, all }) {
      await task(id).kill(execId, signal, all);
      return {};
    },
    exec(request) {
      task(request.id).exec(request);
      return {};
    },
    resizePty({ id, execId, width, height }) {
      task(id).process(execId).io.resize({ rows: height, columns: width });
      return {};
    },
    closeIO({ id, execId, stdin }) {
      if (stdin) task(id).process(execId).io.closeStdin();
      return {};
    },
    async pause({ id }) {
      await task(id).pause();
      return {};
    },
    async resume({ id }) {
      await task(id).resume();
      return {};
    },
    async update({ id, resources }) {
      await task(id).update(resources);
      return {};
    },
    pids({ id }) {
      const { init, execs } = task(id);
      // From 1.7 on the original containerd, when it starts, destroys shims without processes as never used: with them an exit
      // status that nobody was told. An init that has ended is one until it is deleted.
      if (init.end) return { processes: [{ pid: init.pid, info: undefined }] };
      const execIds = new Map([...execs.values()].map((exec) => [exec.pid, exec.execId]));
      const processes = pidsOf(containerCgroup(init.requireRunning())).map((pid) => {
        const execId = execIds.get(pid);
        if (execId === undefined) return { pid, info: undefined };
        const value = Buffer.from(ProcessDetails.encode({ execId }).finish());
        return { pid, info: { typeUrl: "containerd.runc.v1.ProcessDetails", value } };
      });
      return { processes };
    },
    stats({ id }) {
      const { init } = task(id);
      return { stats: stats().readStats(containerCgroup(init.requireRunning())) };
    },
    checkpoint() {
      throw new EngineError("unimplemented", "checkpoints are not supported");
    },
    connect({ id }) {
      return { shimPid: process.pid, taskPid: tasks.get(id)?.init.pid ?? 0, version: VERSION };
    },
    shutdown() {
      if (tasks.size === 0 && creating.size === 0) setImmediate(options.onShutdown);
      return {};
    },
  };
  const resume = (suspended: readonly SuspendedTask[]) => {
    for (const one of suspended) tasks.set(one.id, Task.resume(one, options));
  };
  return { handlers, killAll, suspend, resume };
}

function stateOf(task: Task, process: ManagedProcess): StateResponse {
  const { io, status, pid, execId, end } = process;
  return {
    id: execId || task.id,
    bundle: task.bundle,
    pid,
    status: STATUS[status],
    ...io.request,
    exitStatus: end?.status ?? 0,
    exitedAt: end?.at,
    execId,
  };
}
