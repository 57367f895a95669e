import { leaveRdt } from "@longshore/cgroups";
import { EngineError, isErrno } from "@longshore/errors";
import {
  close,
  O_CLOEXEC,
  O_NONBLOCK,
  O_WRONLY,
  openFile,
  signalIf,
  sleepMs,
  unlink,
  WNOHANG,
  waitPid,
  writeAll,
} from "@longshore/syscalls";
import { runHooks, runHooksToTheEnd } from "./hooks.ts";
import { removeGroup } from "./remove-group.ts";
import { Container, type Status } from "./state.ts";

type Verb = "start" | "delete" | "exec" | "pause" | "resume" | "kill" | "update";

/** What may be asked of a container in which state, and what the original says otherwise; callers match on these words. */
const REFUSALS: Record<Verb, Partial<Record<Status, string>>> = {
  start: {
    creating: "cannot start a container in the creating state",
    running: "cannot start an already running container",
    paused: "cannot start a container in the paused state",
    stopped: "cannot start a container that has stopped",
  },
  delete: {},
  exec: {
    creating: "cannot exec in a container in the creating state",
    stopped: "cannot exec in a stopped container",
    paused: "cannot exec in a paused container (use --ignore-paused to override)",
  },
  pause: {
    creating: "container not running",
    stopped: "container not running",
    paused: "container not running",
  },
  resume: {
    creating: "container not paused",
    created: "container not paused",
    running: "container not paused",
    stopped: "container not paused",
  },
  kill: { stopped: "container not running", creating: "container not running" },
  update: { creating: "container not running", stopped: "container not running" },
};

/** Refuse what a state doesn't allow. */
export function checkStatus(verb: Verb, status: Status): void {
  const refusal = REFUSALS[verb][status];
  if (refusal !== undefined) throw new EngineError("failed_precondition", refusal);
}

/** Load a container and refuse what its state doesn't allow. */
export function containerFor(verb: Verb, root: string, id: string): Container {
  const container = Container.load(root, id);
  checkStatus(verb, container.status);
  return container;
}

/** A file of its own in the executable, beside those of the commands. */
const START_HOOKS = "start-hooks";

/** Let a created container's process go on. */
export function startContainer(root: string, id: string): void {
  const container = containerFor("start", root, id);
  const state = container.ociState("created");
  if ((container.hooks.startContainer?.length ?? 0) > 0) {
    const { runStartHooks } = require(`./${START_HOOKS}.js`) as typeof import("./entries/start-hooks.ts");
    try {
      runStartHooks(container, root, state);
    } catch (error) {
      killInit(container);
      throw error;
    }
  }
  let fifo: number;
  try {
    fifo = openFile(container.fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    // Whoever removes it has started the container: of two at once, one.
    unlink(container.fifo);
  } catch (error) {
    if (isErrno(error, "ENOENT")) {
      throw new EngineError("failed_precondition", "cannot start an already running container", {
        cause: error,
      });
    }
    // Nobody at the other end.
    if (isErrno(error, "ENXIO")) {
      throw new EngineError("failed_precondition", "cannot start a container that has stopped", {
        cause: error,
      });
    }
    throw error;
  }
  writeAll(fifo, "0");
  close(fifo);
  try {
    runHooks(container.hooks, "poststart", container.ociState("running"));
  } catch (error) {
    killInit(container);
    throw error;
  }
}

/** SIGKILL to the init process and wait until it is gone, ten seconds at most. */
export function killInit(container: Container): void {
  const { pid } = container.saved;
  for (let attempt = 0; container.alive && attempt < 1000; attempt++) {
    if (attempt % 100 === 0) {
      if (container.group.frozen) {
        signalInit(container, 9);
        container.group.freeze(false);
      } else {
        signalInit(container, 9);
      }
    }
    reap(pid);
    sleepMs(attempt < 20 ? 1 : 10);
  }
  if (container.alive) throw new EngineError("deadline_exceeded", "container init still running");
}

/** Our own child would stay a zombie (`run`); somebody else's is none of ours. */
function reap(pid: number): void {
  try {
    waitPid(pid, WNOHANG);
  } catch (error) {
    if (!isErrno(error, "ECHILD")) throw error;
  }
}

/** @throws EngineError `failed_precondition` when the init process has ended */
export function signalInit(container: Container, number: number): void {
  try {
    if (signalIf(container.saved.pid, number, () => container.alive)) return;
  } catch (error) {
    if (isErrno(error, "EINVAL")) {
      throw new EngineError("invalid_argument", "unable to signal init: invalid argument", { cause: error });
    }
    throw error;
  }
  throw new EngineError("failed_precondition", "container not running");
}

/** Remove a stopped container; with `force` one in any state, also what a killed `create` left. */
export function deleteContainer(root: string, id: string, force: boolean): void {
  let container: Container;
  try {
    container = Container.load(root, id);
  } catch (error) {
    if (!(error instanceof EngineError) || error.code !== "not_found") throw error;
    // A create that got no further than its directory.
    Container.discard(root, id);
    if (force) return;
    throw error;
  }
  const { status } = container;
  if (status !== "stopped") {
    if (status === "created" || force) {
      if (container.alive) killInit(container);
    } else {
      throw new EngineError(
        "failed_precondition",
        `cannot delete container ${id} that is not stopped: ${status}`,
      );
    }
  }
  destroy(container);
}

/** Everything of a container whose init process is gone. */
export function destroy(container: Container): void {
  const { group, saved } = container;
  // The others of a pid namespace of its own were killed by the kernel when init went. `removeGroup` sees to who is left all the same.
  if (!saved.ownPidNamespace) {
    if (group.frozen) group.freeze(false);
    group.killAll();
  }
  removeGroup(group);
  if (saved.intelRdt) leaveRdt(saved.intelRdt);
  container.remove();
  runHooksToTheEnd(container.hooks, "poststop", container.ociState("stopped"));
}
