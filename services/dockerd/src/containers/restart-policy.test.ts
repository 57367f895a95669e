import { expect, test } from "bun:test";
import { checkRestartPolicy, nextDelayMs, restartsAfter, startsWithDaemon } from "./restart-policy.ts";

const policy = (Name: string, MaximumRetryCount = 0) => ({ Name, MaximumRetryCount });
const run = (more: object = {}) => ({
  failed: true,
  restartCount: 0,
  stopRequested: false,
  manuallyStopped: false,
  ...more,
});

test("checkRestartPolicy() knows Docker's policies and what a retry count goes with", () => {
  for (const name of ["", "no", "always", "unless-stopped", "on-failure"]) checkRestartPolicy(policy(name));
  checkRestartPolicy(policy("on-failure", 3));
  expect(() => checkRestartPolicy(policy("sometimes"))).toThrow("unknown policy 'sometimes'");
  expect(() => checkRestartPolicy(policy("always", 3))).toThrow("can only be used with 'on-failure'");
  expect(() => checkRestartPolicy(policy("", 3))).toThrow("can only be used with 'on-failure'");
  expect(() => checkRestartPolicy(policy("no", -1))).toThrow("and cannot be negative");
  expect(() => checkRestartPolicy(policy("on-failure", -1))).toThrow("cannot be negative");
});

test("restartsAfter() looks at who ended the process, how it ended, and how often", () => {
  expect(restartsAfter(policy("no"), run())).toBe(false);
  expect(restartsAfter(policy("always"), run({ failed: false }))).toBe(true);
  expect(restartsAfter(policy("always"), run({ stopRequested: true }))).toBe(false);
  expect(restartsAfter(policy("always"), run({ manuallyStopped: true }))).toBe(true);
  expect(restartsAfter(policy("unless-stopped"), run({ failed: false }))).toBe(true);
  expect(restartsAfter(policy("unless-stopped"), run({ manuallyStopped: true }))).toBe(false);
  expect(restartsAfter(policy("on-failure"), run({ failed: false }))).toBe(false);
  expect(restartsAfter(policy("on-failure"), run({ restartCount: 99 }))).toBe(true);
  expect(restartsAfter(policy("on-failure", 2), run({ restartCount: 1 }))).toBe(true);
  expect(restartsAfter(policy("on-failure", 2), run({ restartCount: 2 }))).toBe(false);
});

test("startsWithDaemon() starts what nobody stopped, and with always what was stopped too", () => {
  expect(["no", "on-failure"].some((name) => startsWithDaemon(policy(name), false))).toBe(false);
  expect(startsWithDaemon(policy("always"), true)).toBe(true);
  expect(startsWithDaemon(policy("unless-stopped"), true)).toBe(false);
  expect(startsWithDaemon(policy("unless-stopped"), false)).toBe(true);
});

test("nextDelayMs() doubles from 100 ms to a minute, and begins anew after ten seconds of running", () => {
  const delays = [nextDelayMs(0, 5)];
  for (let i = 0; i < 11; i++) delays.push(nextDelayMs(delays.at(-1) ?? 0, 5));
  expect(delays).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
  expect(nextDelayMs(60_000, 9_999)).toBe(60_000);
  expect(nextDelayMs(60_000, 10_000)).toBe(100);
});
