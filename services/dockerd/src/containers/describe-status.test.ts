import { expect, test } from "bun:test";
import { describeDuration, describeStatus } from "./describe-status.ts";

test("describeDuration() has Docker's words", () => {
  const cases: [number, string][] = [
    [0.4, "Less than a second"],
    [1, "1 second"],
    [59, "59 seconds"],
    [60, "About a minute"],
    [150, "2 minutes"],
    [3600, "About an hour"],
    [7200, "2 hours"],
    [86_400 * 3, "3 days"],
    [86_400 * 21, "3 weeks"],
    [86_400 * 90, "3 months"],
    [86_400 * 800, "2 years"],
  ];
  for (const [seconds, words] of cases) expect(describeDuration(seconds)).toBe(words);
});

test("describeStatus() tells of every status", () => {
  const now = new Date("2026-01-01T00:10:00Z");
  const state = {
    pid: 0,
    exitCode: 3,
    error: "",
    oomKilled: false,
    startedAt: "2026-01-01T00:05:00Z",
    finishedAt: "2026-01-01T00:07:00Z",
  };
  expect(describeStatus({ ...state, status: "running" }, now)).toBe("Up 5 minutes");
  expect(describeStatus({ ...state, status: "paused" }, now)).toBe("Up 5 minutes (Paused)");
  expect(describeStatus({ ...state, status: "exited" }, now)).toBe("Exited (3) 3 minutes ago");
  expect(describeStatus({ ...state, status: "created" }, now)).toBe("Created");
});
