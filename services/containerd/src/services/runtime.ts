import path from "node:path";
import { EngineError, errorCode } from "@longshore/errors";
import { ensureDirectory } from "@longshore/syscalls";
import type { Exchange } from "../events/exchange.ts";
import type { ContainerdPlugin } from "../plugin.ts";
import { ExitReporter } from "../shims/exit-reporter.ts";
import { loadTasks } from "../shims/load-tasks.ts";
import { resolveRuntime } from "../shims/runtime-name.ts";
import { type ShimSurroundings, standbyShim } from "../shims/shim-binary.ts";
import { ownShim } from "../shims/standby-shim.ts";
import { TaskManager } from "../shims/task-manager.ts";

const TYPE = "io.containerd.runtime.v2";
const ID = "task";

/** The runtime as other plugins see it once it has started. */
export interface Runtime {
  readonly manager: TaskManager;
  readonly exits: ExitReporter;
  /** Settles when the tasks that an earlier daemon left have been found. */
  readonly loaded: Promise<void>;
}

/** Shims: finds those of an earlier daemon, starts new ones. */
export function runtimePlugin(
  exchange: Exchange,
  {
    surroundings,
    standsBy,
  }: { surroundings: ShimSurroundings /** Whether one shim does. */; standsBy: boolean },
  onStart: (runtime: Runtime) => void,
): ContainerdPlugin {
  return {
    type: TYPE,
    id: ID,
    requires: ["io.containerd.event.v1"],
    platformBound: true,
    async start({ root, state, log }) {
      const dirs = { root: path.join(root, `${TYPE}.${ID}`), state: path.join(state, `${TYPE}.${ID}`) };
      for (const directory of [dirs.root, dirs.state]) {
        ensureDirectory(directory, 0o711);
      }
      const exits = new ExitReporter(exchange, (namespace, id) => manager.find(namespace, id)?.bundle);
      // One that is told to speak gRPC leaves another process behind, as real ones do.
      const stays = process.env.LONGSHORE_SHIM_PROTOCOL !== "grpc";
      const own = standsBy && stays ? ownShim() : undefined;
      const standby = own === undefined ? undefined : standbyShim(own, surroundings, log);
      const manager: TaskManager = new TaskManager({ dirs, surroundings, standby, log }, exits);
      const { outbox } = surroundings;
      const loaded = loadTasks({ dirs, manager, exits, outbox, log }).catch((error: unknown) => {
        log.error({ err: error }, "failed to load the tasks of an earlier daemon");
      });
      void loaded.then(() => standby?.prepare());
      onStart({ manager, exits, loaded });
      return manager;
    },
  };
}

/**
 * The shim of a runtime, beside our own executable or on PATH.
 * @throws EngineError `invalid_argument`, `not_found`
 */
export function shimOf(runtime: string): string {
  try {
    const beside = path.dirname(process.execPath);
    return resolveRuntime(runtime, { beside, path: process.env.PATH ?? "" });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new EngineError(errorCode(error), `failed to resolve runtime path: ${message}`, { cause: error });
  }
}
