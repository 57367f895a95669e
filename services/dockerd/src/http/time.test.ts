import { expect, test } from "bun:test";
import { parseTime } from "./time.ts";

test("parseTime() reads seconds with a fraction, RFC 3339 and lengths of time", () => {
  expect(parseTime("1700000000.25")).toBe(1_700_000_000_250_000_000n);
  expect(parseTime("2023-11-14T22:13:20Z")).toBe(1_700_000_000_000_000_000n);
  expect(parseTime("2023-11-14T22:13:20.123456789Z")).toBe(1_700_000_000_123_456_789n);
  expect(parseTime("2023-11-14T23:13:20.5+01:00")).toBe(1_700_000_000_500_000_000n);
  const hourAgo = BigInt(Date.now() - 3_600_000) * 1_000_000n;
  const difference = parseTime("1h") - hourAgo;
  expect(difference < 1_000_000_000n && difference > -1_000_000_000n).toBe(true);
  expect(() => parseTime("yesterday")).toThrow("invalid time");
});
