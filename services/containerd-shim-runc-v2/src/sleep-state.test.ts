import { expect, test } from "bun:test";
import { quietAfter } from "./sleep-state.ts";

test("a shim that was woken soon waits twice as long, up to ten minutes, and one that slept well as at first", () => {
  const after = (quietMs: number, sleptMs: number) =>
    quietAfter({ quietMs, since: 1000 }, 15_000, 1000 + sleptMs);
  expect(after(15_000, 59_000)).toBe(30_000);
  expect(after(30_000, 0)).toBe(60_000);
  expect(after(500_000, 1000)).toBe(600_000);
  expect(after(600_000, 60_000)).toBe(15_000);
});
