import { EngineError } from "@longshore/errors";
import type { HostConfig } from "./container-config.ts";

export type RestartPolicy = HostConfig["RestartPolicy"];

const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 60_000;
/** A process that has run this long was well: the next restart comes soon again. */
const LONG_RUN_MS = 10_000;

/** No name means `no`. */
const NAMES = ["", "no", "always", "on-failure", "unless-stopped"];

/** @throws EngineError `invalid_argument` in Docker's words */
export function checkRestartPolicy({ Name, MaximumRetryCount }: RestartPolicy): void {
  if (!NAMES.includes(Name)) {
    throw invalid(
      `invalid restart policy: unknown policy '${Name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
    );
  }
  if (Name === "on-failure") {
    if (MaximumRetryCount < 0)
      throw invalid("invalid restart policy: maximum retry count cannot be negative");
  } else if (MaximumRetryCount !== 0) {
    const also = MaximumRetryCount < 0 ? " and cannot be negative" : "";
    throw invalid(`invalid restart policy: maximum retry count can only be used with 'on-failure'${also}`);
  }
}

/** Whether there is a policy at all. */
export function restarts({ Name }: RestartPolicy): boolean {
  return Name !== "" && Name !== "no";
}

export interface EndedRun {
  /** It ended with another exit code than 0, or was ended because it was unhealthy. */
  failed: boolean;
  /** How often it was restarted since somebody started it. */
  restartCount: number;
  /** Somebody asked for this end, of this daemon. */
  stopRequested: boolean;
  /** Somebody asked for the end of this run, if only of an earlier daemon. */
  manuallyStopped: boolean;
}

/** Whether the policy starts a container again whose process has ended. */
export function restartsAfter(policy: RestartPolicy, run: EndedRun): boolean {
  if (run.stopRequested) return false;
  switch (policy.Name) {
    case "always":
      return true;
    case "unless-stopped":
      return !run.manuallyStopped;
    case "on-failure":
      return (
        !run.manuallyStopped &&
        run.failed &&
        (policy.MaximumRetryCount === 0 || run.restartCount < policy.MaximumRetryCount)
      );
    default:
      return false;
  }
}

/** Whether the policy starts a container that is found ended when the daemon starts. */
export function startsWithDaemon({ Name }: RestartPolicy, manuallyStopped: boolean): boolean {
  return Name === "always" || (Name === "unless-stopped" && !manuallyStopped);
}

/** How long to wait before a restart, given how long before the one before it (0: there was none). */
export function nextDelayMs(previousMs: number, ranMs: number): number {
  if (previousMs === 0 || ranMs >= LONG_RUN_MS) return FIRST_DELAY_MS;
  return Math.min(previousMs * 2, LONGEST_DELAY_MS);
}

function invalid(message: string): EngineError {
  return new EngineError("invalid_argument", message);
}
