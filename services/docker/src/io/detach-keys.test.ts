import { expect, test } from "bun:test";
import { DetachWatch, parseDetachKeys } from "./detach-keys.ts";

test("parseDetachKeys() knows letters and control keys", () => {
  expect(parseDetachKeys("ctrl-p,ctrl-q")).toEqual([16, 17]);
  expect(parseDetachKeys("a,ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_")).toEqual([
    97, 0, 27, 28, 29, 30, 31,
  ]);
  expect(() => parseDetachKeys("ctrl-?")).toThrow("Unknown character: 'ctrl-?'");
  expect(() => parseDetachKeys("ab")).toThrow("Unknown character: 'ab'");
});

test("DetachWatch holds a possible start back, and gives it when it was none", () => {
  const watch = new DetachWatch();
  const push = (...bytes: number[]) => {
    const { send, detached } = watch.push(Uint8Array.from(bytes));
    return [[...send], detached];
  };
  expect(push(1, 16)).toEqual([[1], false]);
  expect(push(2)).toEqual([[16, 2], false]);
  expect(push(16, 16)).toEqual([[16], false]);
  expect(push(17, 3)).toEqual([[], true]);
});
