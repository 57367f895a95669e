import { EngineError } from "@longshore/errors";

/** A container's status, as `State.Status` of the API. */
export type ContainerStatus =
  | "created"
  | "running"
  | "paused"
  | "restarting"
  | "exited"
  | "removing"
  | "dead";

/** What can happen to a container. `removeFailed` leaves it dead: only removing it again is possible. */
export type ContainerEvent =
  | "start"
  | "startFailed"
  | "exit"
  | "pause"
  | "unpause"
  | "restart"
  | "remove"
  | "removeFailed";

/** Legal moves; a missing pair is refused. The graph is Docker's. */
const NEXT: Record<ContainerStatus, Partial<Record<ContainerEvent, ContainerStatus>>> = {
  created: { start: "running", startFailed: "created", remove: "removing" },
  running: { pause: "paused", exit: "exited", restart: "restarting" },
  paused: { unpause: "running", exit: "exited", restart: "restarting" },
  restarting: { start: "running", startFailed: "exited", exit: "exited", remove: "removing" },
  exited: { start: "running", startFailed: "exited", remove: "removing" },
  removing: { removeFailed: "dead" },
  dead: { remove: "removing" },
};

/** @throws EngineError `conflict` for a move that the table doesn't have */
export function nextStatus(from: ContainerStatus, event: ContainerEvent): ContainerStatus {
  const to = NEXT[from][event];
  if (to) return to;
  throw new EngineError("conflict", `cannot ${event} a container that is ${from}`);
}

/** Whether it runs as clients see it: one that waits for its restart does. */
export function isRunning(status: ContainerStatus): boolean {
  return status === "running" || status === "paused" || status === "restarting";
}

/** Whether it is being removed, or that has failed. */
export function isLeaving(status: ContainerStatus): status is "removing" | "dead" {
  return status === "removing" || status === "dead";
}

/** @throws EngineError `conflict` in Docker's words for a container that is being removed, or couldn't be */
export function requireStaying(
  what: "commit" | "export",
  { id, state }: { id: string; state: { status: ContainerStatus } },
): void {
  if (!isLeaving(state.status)) return;
  const why = state.status === "dead" ? "is Dead" : "is being removed";
  throw new EngineError("conflict", `You cannot ${what} container ${id} which ${why}`);
}

/** Whether a process runs in this status. */
export function hasProcess(status: ContainerStatus): boolean {
  return status === "running" || status === "paused";
}

/** @throws EngineError `conflict` in Docker's words unless a process runs */
export function requireRunning(id: string, status: ContainerStatus): void {
  if (status === "restarting") {
    throw new EngineError("conflict", `Container ${id} is restarting, wait until the container is running`);
  }
  if (!isRunning(status)) throw new EngineError("conflict", `container ${id} is not running`);
}
