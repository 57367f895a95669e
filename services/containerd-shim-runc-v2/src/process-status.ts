import { EngineError } from "@longshore/errors";

export type ProcessStatus = "created" | "running" | "paused" | "stopped" | "deleted";
export type ProcessMove = "start" | "pause" | "resume" | "exit" | "delete";
type Table = Record<ProcessStatus, Partial<Record<ProcessMove, ProcessStatus>>>;

/** Legal moves of an init process; a missing pair is refused. The graph is containerd's, shim `process/init_state.go`. */
const INIT: Table = {
  created: { start: "running", exit: "stopped", delete: "deleted" },
  running: { pause: "paused", exit: "stopped" },
  paused: { resume: "running", exit: "stopped" },
  stopped: { delete: "deleted" },
  deleted: {},
};

/** Of an exec process, which pauses with its container and is not told. */
const EXEC: Table = {
  created: { start: "running", exit: "stopped", delete: "deleted" },
  running: { exit: "stopped" },
  paused: {},
  stopped: { delete: "deleted" },
  deleted: {},
};

/** @throws EngineError `failed_precondition` in the original's words */
export function nextStatus(kind: "init" | "exec", from: ProcessStatus, move: ProcessMove): ProcessStatus {
  const to = (kind === "init" ? INIT : EXEC)[from][move];
  if (to) return to;
  const what = move === "pause" && from !== "created" ? "container" : "process";
  throw new EngineError("failed_precondition", `cannot ${move} a ${from} ${what}`);
}
