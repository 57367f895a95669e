import { EngineError } from "@longshore/errors";
import type { ContainerConfig } from "../containers/container-config.ts";
import type { ImageConfig } from "../images/image-config.ts";

/** How a container's health is looked at, as the API has it; times are nanoseconds, 0 is the default. */
export type Healthcheck = NonNullable<ContainerConfig["Healthcheck"]>;

type ImageHealthcheck = NonNullable<NonNullable<ImageConfig["config"]>["Healthcheck"]>;

const TIMES = ["Interval", "Timeout", "StartPeriod", "StartInterval"] as const;
const MIN_TIME_NS = 1_000_000;
/** As much as a timer takes. */
const MAX_MS = 2 ** 31 - 1;

/** With what a container's client leaves out as the image has it. */
export function mergeHealthcheck(
  own: Healthcheck | null,
  image: ImageHealthcheck | null | undefined,
): Healthcheck | null {
  if (own === null && !image) return null;
  return {
    Test: own?.Test.length ? own.Test : (image?.Test ?? []),
    Interval: own?.Interval || image?.Interval || 0,
    Timeout: own?.Timeout || image?.Timeout || 0,
    StartPeriod: own?.StartPeriod || image?.StartPeriod || 0,
    StartInterval: own?.StartInterval || image?.StartInterval || 0,
    Retries: own?.Retries || image?.Retries || 0,
  };
}

/** @throws EngineError `invalid_argument` in Docker's words */
export function checkHealthcheck(healthcheck: Healthcheck | null): void {
  if (healthcheck === null) return;
  for (const field of TIMES) {
    if (healthcheck[field] !== 0 && healthcheck[field] < MIN_TIME_NS) {
      throw new EngineError("invalid_argument", `${field} in Healthcheck cannot be less than 1ms`);
    }
  }
  if (healthcheck.Retries < 0) {
    throw new EngineError("invalid_argument", "Retries in Healthcheck cannot be negative");
  }
  const [kind = "NONE", ...words] = healthcheck.Test;
  if (kind === "NONE") return;
  if (kind !== "CMD" && kind !== "CMD-SHELL") {
    throw new EngineError(
      "invalid_argument",
      `Config.Healthcheck.Test: unknown type ${JSON.stringify(kind)}`,
    );
  }
  if (words.length === 0) throw new EngineError("invalid_argument", "Config.Healthcheck.Test has no command");
}

/** What a health check comes to, with Docker's defaults. */
export interface HealthPlan {
  command: string[];
  intervalMs: number;
  timeoutMs: number;
  /** Failures in this time after the start don't count. */
  startPeriodMs: number;
  /** How often it is looked during the start period, until it is well. */
  startIntervalMs: number;
  /** So many failures in a row make it unhealthy. */
  retries: number;
}

/** @returns undefined when there is nothing to look at */
export function healthPlan({ Healthcheck, Shell }: ContainerConfig): HealthPlan | undefined {
  const [kind, ...words] = Healthcheck?.Test ?? [];
  if (!Healthcheck || kind === undefined || kind === "NONE") return undefined;
  const shell = Shell.length > 0 ? Shell : ["/bin/sh", "-c"];
  // Former releases kept whatever an image's config had.
  const ms = (ns: number, byDefault: number) => (ns > 0 ? Math.min(ns / 1e6, MAX_MS) : byDefault);
  return {
    command: kind === "CMD-SHELL" ? [...shell, ...words] : words,
    intervalMs: ms(Healthcheck.Interval, 30_000),
    timeoutMs: ms(Healthcheck.Timeout, 30_000),
    startPeriodMs: ms(Healthcheck.StartPeriod, 0),
    startIntervalMs: ms(Healthcheck.StartInterval, 5000),
    retries: Healthcheck.Retries > 0 ? Healthcheck.Retries : 3,
  };
}
