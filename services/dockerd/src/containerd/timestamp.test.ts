import { expect, test } from "bun:test";
import { fromTimestamp, trimTime } from "./timestamp.ts";

test("trimTime() gives a moment the text that fromTimestamp() gives it", () => {
  for (const nanos of [0, 326_180_000, 120_000_000, 123_456_789]) {
    const seconds = 1_700_000_000n;
    const long = `2023-11-14T22:13:20.${String(nanos).padStart(9, "0")}Z`;
    expect(trimTime(long)).toBe(fromTimestamp({ seconds, nanos }));
  }
  expect(trimTime("2023-11-14T22:13:20Z")).toBe("2023-11-14T22:13:20Z");
});
