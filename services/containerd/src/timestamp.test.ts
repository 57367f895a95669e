import { expect, test } from "bun:test";
import { fromRfc3339, timestampNow, toRfc3339 } from "./timestamp.ts";

test("toRfc3339() and fromRfc3339() keep every nanosecond", () => {
  for (const time of [
    timestampNow(),
    { seconds: 0n, nanos: 1 },
    { seconds: 1_700_000_000n, nanos: 999_999_999 },
  ]) {
    expect(fromRfc3339(toRfc3339(time))).toEqual(time);
  }
  expect(fromRfc3339("2023-11-14T22:13:20Z")).toEqual({ seconds: 1_700_000_000n, nanos: 0 });
  expect(() => fromRfc3339("yesterday")).toThrow(RangeError);
});
