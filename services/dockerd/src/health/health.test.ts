import { expect, test } from "bun:test";
import { containerConfigSchema } from "../containers/container-config.ts";
import { newHealth, nextProbeMs, withResult } from "./health.ts";
import { checkHealthcheck, type HealthPlan, healthPlan, mergeHealthcheck } from "./healthcheck.ts";

const check = (Healthcheck: object, more: object = {}) =>
  containerConfigSchema.parse({ Image: "x", Healthcheck, ...more });
const plan: HealthPlan = {
  command: ["true"],
  intervalMs: 1000,
  timeoutMs: 1000,
  startPeriodMs: 5000,
  startIntervalMs: 100,
  retries: 2,
};
const result = (ExitCode: number, Output = "") => ({ Start: "", End: "", ExitCode, Output });

test("healthPlan() has Docker's defaults, and none for NONE", () => {
  expect(healthPlan(check({ Test: ["CMD-SHELL", "curl -f x"] }))).toEqual({
    command: ["/bin/sh", "-c", "curl -f x"],
    intervalMs: 30_000,
    timeoutMs: 30_000,
    startPeriodMs: 0,
    startIntervalMs: 5000,
    retries: 3,
  });
  expect(healthPlan(check({ Test: ["CMD", "a", "b"], Interval: 5e9 }))).toMatchObject({
    command: ["a", "b"],
    intervalMs: 5000,
  });
  expect(healthPlan(check({ Test: ["CMD-SHELL", "x"] }, { Shell: ["bash", "-ec"] }))?.command).toEqual([
    "bash",
    "-ec",
    "x",
  ]);
  expect(healthPlan(check({ Test: ["NONE"] }))).toBeUndefined();
  expect(healthPlan(check({ Interval: 5e9 }))).toBeUndefined();
});

test("healthPlan() has defaults in place of invalid values, which former releases kept", () => {
  const odd = {
    ...check({ Test: ["CMD", "a"] }),
    Healthcheck: { Test: ["CMD", "a"], Interval: "abc", Retries: -1 },
  };
  const plan = healthPlan(odd as unknown as ReturnType<typeof check>);
  expect(plan).toMatchObject({ intervalMs: 30_000, timeoutMs: 30_000, startIntervalMs: 5000, retries: 3 });
});

test("mergeHealthcheck() takes from the image what the client leaves out", () => {
  const own = check({ Interval: 5e9 }).Healthcheck;
  expect(mergeHealthcheck(own, { Test: ["CMD", "x"], Interval: 1e9, Retries: 7 })).toEqual({
    Test: ["CMD", "x"],
    Interval: 5e9,
    Timeout: 0,
    StartPeriod: 0,
    StartInterval: 0,
    Retries: 7,
  });
  expect(mergeHealthcheck(null, undefined)).toBeNull();
  expect(mergeHealthcheck(check({ Test: ["NONE"] }).Healthcheck, { Test: ["CMD", "x"] })?.Test).toEqual([
    "NONE",
  ]);
});

test("checkHealthcheck() refuses what makes no sense", () => {
  const refuse = (healthcheck: object) => () => checkHealthcheck(check(healthcheck).Healthcheck);
  expect(refuse({ Test: ["CMD", "x"], Interval: 5 })).toThrow(
    "Interval in Healthcheck cannot be less than 1ms",
  );
  expect(refuse({ Test: ["CMD", "x"], Retries: -1 })).toThrow("Retries in Healthcheck cannot be negative");
  expect(refuse({ Test: ["GET", "x"] })).toThrow('unknown type "GET"');
  expect(refuse({ Test: ["CMD"] })).toThrow("no command");
  expect(refuse({ Test: ["NONE"] })).not.toThrow();
});

test("withResult() counts failures in a row, not those of the start period, and keeps five looks", () => {
  let health = withResult(newHealth(), result(1, "early"), plan, 4999);
  expect(health).toMatchObject({ Status: "starting", FailingStreak: 0 });
  health = withResult(health, result(1), plan, 5000);
  expect(health).toMatchObject({ Status: "starting", FailingStreak: 1 });
  health = withResult(health, result(0), plan, 6000);
  expect(health).toMatchObject({ Status: "healthy", FailingStreak: 0 });
  // Once it was well, the start period is over.
  health = withResult(health, result(1), plan, 100);
  expect(health).toMatchObject({ Status: "healthy", FailingStreak: 1 });
  health = withResult(health, result(-1), plan, 200);
  expect(health).toMatchObject({ Status: "unhealthy", FailingStreak: 2 });
  health = withResult(health, result(0, "last"), plan, 300);
  expect(health.Log).toHaveLength(5);
  expect(health.Log.map(({ Output }) => Output)).toEqual(["", "", "", "", "last"]);
});

test("nextProbeMs() is short while it starts", () => {
  expect(nextProbeMs(newHealth(), plan, 10)).toBe(100);
  expect(nextProbeMs(newHealth(), plan, 5001)).toBe(1000);
  expect(nextProbeMs({ ...newHealth(), Status: "healthy" }, plan, 10)).toBe(1000);
});
