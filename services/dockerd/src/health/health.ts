import type { HealthPlan } from "./healthcheck.ts";

/** One look at a container, as the API shows it. */
export interface ProbeResult {
  /** RFC 3339 */
  Start: string;
  End: string;
  /** 0 is well; -1 when the probe couldn't be run or took too long. */
  ExitCode: number;
  Output: string;
}

/** `State.Health` of the API. */
export interface Health {
  Status: "starting" | "healthy" | "unhealthy";
  FailingStreak: number;
  /** The last looks, oldest first. */
  Log: ProbeResult[];
}

const LOG_ENTRIES = 5;

/** The health of a container that has just started. */
export function newHealth(): Health {
  return { Status: "starting", FailingStreak: 0, Log: [] };
}

/** How long until the next look. @param ageMs since the container started */
export function nextProbeMs({ Status }: Health, plan: HealthPlan, ageMs: number): number {
  return Status === "starting" && ageMs < plan.startPeriodMs ? plan.startIntervalMs : plan.intervalMs;
}

/** The health after one more look. @param ageMs since the container started, when the look began */
export function withResult(health: Health, result: ProbeResult, plan: HealthPlan, ageMs: number): Health {
  const Log = [...health.Log, result].slice(-LOG_ENTRIES);
  if (result.ExitCode === 0) return { Status: "healthy", FailingStreak: 0, Log };
  if (health.Status === "starting" && ageMs < plan.startPeriodMs) return { ...health, Log };
  const FailingStreak = health.FailingStreak + 1;
  return { Status: FailingStreak >= plan.retries ? "unhealthy" : health.Status, FailingStreak, Log };
}
