import type { StateResponse } from "@longshore/api/containerd/runtime/task/v2/shim";
import { type CreateTaskRequest, TasksDefinition } from "@longshore/api/containerd/services/tasks/v1/tasks";
import type { Metric } from "@longshore/api/containerd/types/metrics";
import type { Process } from "@longshore/api/containerd/types/task/task";
import type { Any } from "@longshore/api/google/protobuf/any";
import { EngineError, errorCode } from "@longshore/errors";
import type { CallContext } from "@longshore/rpc";
import { validateIdentifierOf } from "../identifier.ts";
import { parseFilters } from "../metadata/filter.ts";
import { requireNamespace } from "../namespace.ts";
import type { ContainerdPlugin } from "../plugin.ts";
import { forgetTold } from "../shims/exit-record.ts";
import type { Task } from "../shims/task.ts";
import { timestampNow } from "../timestamp.ts";
import { ContainerStore } from "./container-store.ts";
import { type Runtime, shimOf } from "./runtime.ts";

/** How long a listing waits for one shim. */
const STATE_TIMEOUT_MS = 2000;

/** gRPC: tasks, each call passed on to the shim of its container. */
export function tasksPlugin(runtimeOf: () => Runtime): ContainerdPlugin {
  return {
    type: "io.containerd.grpc.v1",
    id: "tasks",
    requires: ["io.containerd.runtime.v2"],
    async start({ server, store, log }) {
      const runtime = runtimeOf();
      const { manager } = runtime;
      const containers = new ContainerStore(store);

      const taskOf = async (containerId: string, context: CallContext): Promise<Task> => {
        const namespace = requireNamespace(context);
        await runtime.loaded;
        const task = manager.find(namespace, containerId);
        if (task) return task;
        await containers.get(namespace, containerId);
        throw new EngineError("not_found", `task ${containerId} not found`);
      };

      server.add(TasksDefinition, {
        async create(request, context) {
          const namespace = requireNamespace(context);
          await runtime.loaded;
          const { containerId: id, rootfs, stdin, stdout, stderr, terminal } = request;
          const container = await containers.get(namespace, id);
          refuseUnsupported(request);
          const task = await manager.create(namespace, id, {
            ...{ rootfs, stdin, stdout, stderr, terminal },
            binary: shimOf(request.runtimePath || container.runtime?.name || ""),
            options: nonEmpty(request.options) ?? container.runtime?.options,
            spec: container.spec,
            signal: context.signal,
          });
          return { containerId: id, pid: task.pid };
        },
        async start({ containerId, execId }, context) {
          const task = await taskOf(containerId, context);
          const { pid } = await task.shim.start({ id: containerId, execId }, { signal: context.signal });
          if (execId === "") {
            task.pid = pid;
            manager.watchExit(task);
          }
          return { pid };
        },
        async delete({ containerId }, context) {
          const task = await taskOf(containerId, context);
          const { pid, exitStatus, exitedAt } = await manager.delete(task);
          return { id: "", pid, exitStatus, exitedAt };
        },
        async deleteProcess({ containerId, execId }, context) {
          if (execId === "") throw new EngineError("invalid_argument", "exec id cannot be empty");
          const task = await taskOf(containerId, context);
          const deleted = await task.shim.delete({ id: containerId, execId }, { signal: context.signal });
          forgetTold(task.bundle.path, execId);
          return { id: execId, ...deleted };
        },
        async get({ containerId, execId }, context) {
          const task = await taskOf(containerId, context);
          const state = await task.shim
            .state({ id: containerId, execId }, withTimeout(context))
            .catch(async (error: unknown) => {
              if (execId === "" && errorCode(error) === "not_found") await manager.forgetDeleted(task);
              throw error;
            });
          return { process: toProcess(execId || containerId, state) };
        },
        async list(_, context) {
          const namespace = requireNamespace(context);
          await runtime.loaded;
          const states = await Promise.all(
            manager.list(namespace).map(async (task) => {
              try {
                const state = await task.shim.state({ id: task.id, execId: "" }, withTimeout(context));
                return [toProcess(task.id, state)];
              } catch (error) {
                if (errorCode(error) !== "not_found") log.warn({ err: error, id: task.id }, "no state");
                return [];
              }
            }),
          );
          return { tasks: states.flat() };
        },
        async kill({ containerId, execId, signal, all }, context) {
          const task = await taskOf(containerId, context);
          return await task.shim.kill({ id: containerId, execId, signal, all }, { signal: context.signal });
        },
        async exec({ containerId, execId, ...init }, context) {
          if (execId === "") throw new EngineError("invalid_argument", "exec id cannot be empty");
          validateIdentifierOf(`invalid exec id ${execId}`, execId);
          const task = await taskOf(containerId, context);
          return await task.shim.exec({ id: containerId, execId, ...init }, { signal: context.signal });
        },
        async resizePty({ containerId, execId, width, height }, context) {
          const task = await taskOf(containerId, context);
          return await task.shim.resizePty(
            { id: containerId, execId, width, height },
            { signal: context.signal },
          );
        },
        async closeIO({ containerId, execId, stdin }, context) {
          const task = await taskOf(containerId, context);
          if (!stdin) return {};
          return await task.shim.closeIO({ id: containerId, execId, stdin }, { signal: context.signal });
        },
        async pause({ containerId }, context) {
          const task = await taskOf(containerId, context);
          return await task.shim.pause({ id: containerId }, { signal: context.signal });
        },
        async resume({ containerId }, context) {
          const task = await taskOf(containerId, context);
          return await task.shim.resume({ id: containerId }, { signal: context.signal });
        },
        async listPids({ containerId }, context) {
          const task = await taskOf(containerId, context);
          return await task.shim.pids({ id: containerId }, { signal: context.signal });
        },
        async checkpoint({ containerId }, context) {
          await taskOf(containerId, context);
          throw new EngineError("unimplemented", "checkpointing is not supported");
        },
        async update({ containerId, resources, annotations }, context) {
          const task = await taskOf(containerId, context);
          return await task.shim.update(
            { id: containerId, resources, annotations },
            { signal: context.signal },
          );
        },
        async metrics({ filters }, context) {
          const namespace = requireNamespace(context);
          const matches = parseFilters(filters);
          await runtime.loaded;
          const tasks = manager.list(namespace).filter((task) =>
            matches(([name]) => {
              if (name === "id") return task.id;
              return name === "namespace" ? namespace : undefined;
            }),
          );
          const metrics = await Promise.all(tasks.map((task) => metricsOf(task, context)));
          return { metrics: metrics.flat() };
        },
        async wait({ containerId, execId }, context) {
          const task = await taskOf(containerId, context);
          try {
            return await task.shim.wait({ id: containerId, execId }, { signal: context.signal });
          } catch (error) {
            const exit = await manager.lostExit(task, execId, error);
            if (exit) return exit;
            throw error;
          }
        },
      });

      async function metricsOf(task: Task, context: CallContext): Promise<Metric[]> {
        const timestamp = timestampNow();
        try {
          const { stats } = await task.shim.stats({ id: task.id }, withTimeout(context));
          return [{ timestamp, id: task.id, data: stats }];
        } catch (error) {
          if (errorCode(error) !== "not_found") log.error({ err: error, id: task.id }, "collecting metrics");
          return [];
        }
      }
      return undefined;
    },
  };
}

function withTimeout({ signal }: CallContext): { signal: AbortSignal; timeoutMs: number } {
  return { signal, timeoutMs: STATE_TIMEOUT_MS };
}

/** Options without content are options not given. */
function nonEmpty(options: Any | undefined): Any | undefined {
  return options && options.value.length > 0 ? options : undefined;
}

function refuseUnsupported({ checkpoint, taskApiAddress }: CreateTaskRequest): void {
  if (checkpoint) throw new EngineError("unimplemented", "restoring from a checkpoint is not supported");
  if (taskApiAddress) {
    throw new EngineError("unimplemented", "tasks in a sandbox (task_api_address) are not supported");
  }
}

function toProcess(id: string, state: StateResponse): Process {
  const { pid, status, stdin, stdout, stderr, terminal, exitStatus, exitedAt } = state;
  return { containerId: "", id, pid, status, stdin, stdout, stderr, terminal, exitStatus, exitedAt };
}
