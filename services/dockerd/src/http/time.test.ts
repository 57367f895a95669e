import { expect, test } from "bun:test";
import { parseTime } from "./time.ts";

test("parseTime() reads seconds with a fraction, RFC 3339 and lengths of time", () => {
  expect(parseTime("1700000000.25")).toBe(1_700_000_000_250_000_000n);
  expect(parseTime("2023-11-14T22:13:20Z")).toBe(1_700_000_000_000_000_000n);
  expect(parseTime("2023-11-14T22:13:20.123456789Z")).toBe(1_700_000_000_123_456_789n);
  expect(parseTime("2023-11-14T23:13:20.5+01:00")).toBe(1_700_000_000_500_000_000n);
  for (const text of ["1h", "0.5h30m", "3600s", "3599s1000ms", "3600000000us"]) {
    const difference = parseTime(text) - BigInt(Date.now() - 3_600_000) * 1_000_000n;
    expect(difference < 1_000_000_000n && difference > -1_000_000_000n).toBe(true);
  }
  for (const text of ["yesterday", "day 1", "1h ", "1x", ".", "3000000h", `${"9".repeat(400)}h`])
    expect(() => parseTime(text)).toThrow("invalid time");
});
