import { expect, test } from "bun:test";
import { chainId, createHasher, digestOf, digestParts, isDigest, parseDigest } from "./digest.ts";

const EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

test("parseDigest() accepts the three algorithms and refuses everything else", () => {
  expect(parseDigest(EMPTY)).toBe(EMPTY);
  expect(isDigest(`sha512:${"a".repeat(128)}`)).toBe(true);
  expect(() => parseDigest("sha256:abc")).toThrow("invalid checksum digest length");
  expect(() => parseDigest(`md5:${"a".repeat(32)}`)).toThrow("unsupported digest algorithm");
  for (const bad of ["", "sha256", `sha256:${"A".repeat(64)}`, `sha256:${"a".repeat(63)}/`, `${EMPTY}\n`]) {
    expect(isDigest(bad)).toBe(false);
  }
});

test("digestOf() and createHasher() agree, also half-way", () => {
  expect(digestOf("")).toBe(EMPTY);
  const hasher = createHasher();
  hasher.update("ab");
  expect(hasher.digest()).toBe(digestOf("ab"));
  hasher.update(Buffer.from("c"));
  expect(hasher.digest()).toBe(digestOf("abc"));
});

test("digestParts() splits at the colon", () => {
  expect(digestParts(parseDigest(EMPTY))).toEqual({ algorithm: "sha256", hex: EMPTY.slice(7) });
});

test("chainId() hashes parent and layer pairwise", () => {
  const a = digestOf("a");
  const b = digestOf("b");
  const c = digestOf("c");
  expect(chainId([a])).toBe(a);
  expect(chainId([a, b, c])).toBe(digestOf(`${digestOf(`${a} ${b}`)} ${c}`));
  expect(() => chainId([])).toThrow("no layer");
});
