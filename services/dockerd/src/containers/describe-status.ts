import type { ContainerState } from "./container.ts";

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** `Up 3 minutes`, `Exited (0) 2 hours ago`, `Created`: the words of `docker ps`. */
export function describeStatus(state: ContainerState, now: Date): string {
  const ago = (time: string) => describeDuration((now.getTime() - Date.parse(time)) / 1000);
  switch (state.status) {
    case "created":
      return "Created";
    case "running":
      return `Up ${ago(state.startedAt)}${healthOf(state)}`;
    case "paused":
      return `Up ${ago(state.startedAt)} (Paused)`;
    case "restarting":
      return `Restarting (${state.exitCode}) ${ago(state.finishedAt)} ago`;
    case "exited":
      return `Exited (${state.exitCode}) ${ago(state.finishedAt)} ago`;
    case "removing":
      return "Removal In Progress";
    case "dead":
      return "Dead";
  }
}

function healthOf({ health }: ContainerState): string {
  if (!health) return "";
  return health.Status === "starting" ? " (health: starting)" : ` (${health.Status})`;
}

/** A length of time in Docker's words. @see docker/go-units `duration.go` */
export function describeDuration(seconds: number): string {
  const whole = Math.floor(seconds);
  if (whole < 1) return "Less than a second";
  if (whole === 1) return "1 second";
  if (whole < MINUTE) return `${whole} seconds`;
  const minutes = Math.floor(seconds / MINUTE);
  if (minutes === 1) return "About a minute";
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.round(seconds / HOUR);
  if (hours === 1) return "About an hour";
  if (hours < 48) return `${hours} hours`;
  const days = Math.floor(seconds / DAY);
  if (hours < 24 * 7 * 2) return `${days} days`;
  if (hours < 24 * 30 * 2) return `${Math.floor(days / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.floor(days / 30)} months`;
  return `${Math.floor(days / 365)} years`;
}
