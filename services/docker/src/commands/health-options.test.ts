import { expect, test } from "bun:test";
import { FlagValues } from "../flags.ts";
import { HEALTH_FLAGS, healthcheck } from "./health-options.ts";

function flags(values: Record<string, string>): FlagValues {
  const parsed = new FlagValues();
  for (const [name, value] of Object.entries(values)) parsed.set(name, value);
  return parsed;
}

test("healthcheck() is undefined without flags, and NONE or what they say with them", () => {
  expect(healthcheck(flags({}))).toBeUndefined();
  expect(healthcheck(flags({ "no-healthcheck": "true" }))).toEqual({ Test: ["NONE"] });
  expect(
    healthcheck(flags({ "health-cmd": "true", "health-interval": "1m30s", "health-retries": "2" })),
  ).toEqual({
    Test: ["CMD-SHELL", "true"],
    Interval: 90e9,
    Timeout: 0,
    StartPeriod: 0,
    StartInterval: 0,
    Retries: 2,
  });
  expect(() => healthcheck(flags({ "no-healthcheck": "true", "health-cmd": "true" }))).toThrow("conflicts");
});

test("a duration needs a unit", () => {
  const check = HEALTH_FLAGS.find(({ name }) => name === "health-timeout")?.check;
  expect(() => check?.("5")).toThrow("missing unit");
  expect(() => check?.("soon")).toThrow("invalid duration");
  expect(() => check?.("500ms")).not.toThrow();
});
