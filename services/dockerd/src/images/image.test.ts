import { expect, test } from "bun:test";
import { chainIds } from "./image.ts";
import { matchesReference } from "./list-images.ts";

test("chainIds() begins with the first diff id and hashes each further one onto it", () => {
  const a = `sha256:${"a".repeat(64)}`;
  const b = `sha256:${"b".repeat(64)}`;
  const [first, second] = chainIds([a, b]);
  expect(first).toBe(a);
  expect(second).toBe(`sha256:${new Bun.CryptoHasher("sha256").update(`${a} ${b}`).digest("hex")}`);
  expect(chainIds([])).toEqual([]);
});

test("matchesReference() takes patterns with and without a tag", () => {
  expect(matchesReference("busybox:latest", "busybox")).toBe(true);
  expect(matchesReference("busybox:1.36", "busy*:1.*")).toBe(true);
  expect(matchesReference("me/busybox:1", "*box")).toBe(false);
  expect(matchesReference("busybox:1", "busybox:2")).toBe(false);
  const names = ["busybox:1", "busybox:2", "host:5000/a/b:1", "a.b@sha256:00"];
  const fitting = (pattern: string) => names.filter((name) => matchesReference(name, pattern));
  expect(fitting("busybox:[12]")).toEqual(["busybox:1", "busybox:2"]);
  expect(fitting("busybox:[^1]")).toEqual(["busybox:2"]);
  expect(fitting("busybo?:1")).toEqual(["busybox:1"]);
  expect(fitting("b\\usybox")).toEqual(["busybox:1", "busybox:2"]);
  expect(fitting("host:5000/*/b")).toEqual(["host:5000/a/b:1"]);
  expect(fitting("a.b")).toEqual(["a.b@sha256:00"]);
  expect(fitting("a?b@*")).toEqual(["a.b@sha256:00"]);
  expect(fitting("axb")).toEqual([]);
  for (const pattern of ["[", "a[]", "a\\", "[z-a]"])
    expect(() => fitting(pattern)).toThrow("syntax error in pattern");
});
