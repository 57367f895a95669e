import { expect, test } from "bun:test";
import { DEFAULT_DETACH_KEYS, DetachScanner, parseDetachKeys } from "./detach-keys.ts";

test("parseDetachKeys() reads control keys and letters", () => {
  expect(parseDetachKeys("ctrl-p,ctrl-q")).toEqual(Buffer.from([16, 17]));
  expect(parseDetachKeys("ctrl-@,a,ctrl-\\")).toEqual(Buffer.from([0, 97, 28]));
  expect(parseDetachKeys("ctrl-p,ctrl-?")).toBeUndefined();
});

test("DetachScanner finds the sequence across chunks, and hands on what isn't it", () => {
  const scanner = new DetachScanner(DEFAULT_DETACH_KEYS);
  expect(scanner.push(Buffer.from("a\x10")).output.toString()).toBe("a");
  expect(scanner.push(Buffer.from("b")).output.toString()).toBe("\x10b");
  expect(scanner.push(Buffer.from("\x10\x10"))).toMatchObject({ detached: false });
  expect(scanner.push(Buffer.from("\x11"))).toMatchObject({ detached: true });
});
