import { CliError } from "../cli-error.ts";
import { checkInteger, type Flag, type FlagValues } from "../flags.ts";
import { parseDuration } from "../format/duration.ts";

const duration = (name: string, help: string): Flag => ({
  name,
  kind: "string",
  value: "duration",
  help,
  check: checkDuration,
});

/** Flags about a container's health check. */
export const HEALTH_FLAGS: readonly Flag[] = [
  { name: "health-cmd", kind: "string", help: "Command to run to check health" },
  duration("health-interval", "Time between running the check (ms|s|m|h) (default 0s)"),
  {
    name: "health-retries",
    kind: "string",
    value: "int",
    help: "Consecutive failures needed to report unhealthy",
    check: checkInteger,
  },
  duration(
    "health-start-interval",
    "Time between running the check during the start period (ms|s|m|h) (default 0s)",
  ),
  duration("health-start-period", "Start period for the container to initialize (ms|s|m|h) (default 0s)"),
  duration("health-timeout", "Maximum time to allow one check to run (ms|s|m|h) (default 0s)"),
  { name: "no-healthcheck", kind: "bool", help: "Disable any container-specified HEALTHCHECK" },
];

/** `Healthcheck` of a create request; undefined leaves it to the image. @throws CliError for flags that contradict each other */
export function healthcheck(flags: FlagValues): object | undefined {
  const given = HEALTH_FLAGS.some(({ name }) => name !== "no-healthcheck" && flags.has(name));
  if (flags.bool("no-healthcheck")) {
    if (given) throw new CliError("--no-healthcheck conflicts with --health-* options", 125);
    return { Test: ["NONE"] };
  }
  if (!given) return undefined;
  const command = flags.string("health-cmd");
  const retries = Number(flags.string("health-retries") || 0);
  if (retries < 0) throw new CliError("--health-retries cannot be negative", 125);
  const nanoseconds = (name: string) => Math.round((parseDuration(flags.string(name)) ?? 0) * 1e6);
  return {
    ...(command !== "" && { Test: ["CMD-SHELL", command] }),
    Interval: nanoseconds("health-interval"),
    Timeout: nanoseconds("health-timeout"),
    StartPeriod: nanoseconds("health-start-period"),
    StartInterval: nanoseconds("health-start-interval"),
    Retries: retries,
  };
}

function checkDuration(value: string): void {
  if (value === "0" || parseDuration(value) !== undefined) return;
  if (value.startsWith("-")) throw new Error("cannot be negative");
  const missing = /^[0-9.]+$/.test(value) ? "missing unit in duration" : "invalid duration";
  throw new Error(`time: ${missing} ${JSON.stringify(value)}`);
}
