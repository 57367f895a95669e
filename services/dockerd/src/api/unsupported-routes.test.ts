import { expect, test } from "bun:test";
import { checkCacheLimits } from "./unsupported-routes.ts";

const request = (version: number, query: string) => ({
  query: new URLSearchParams(query),
  atLeast: (than: string) => version >= Number(than.split(".")[1]),
});

test.each([
  [47, "keep-storage=x", "keep-storage is in bytes and expects an integer, got x"],
  [48, "keep-storage=x", "keep-storage is in bytes and expects an integer, got x"],
  [48, "reserved-space=0&keep-storage=x", "keep-storage is in bytes and expects an integer, got x"],
  [48, "reserved-space=1k", 'got 1k: strconv.Atoi: parsing "1k": invalid syntax'],
  [48, "max-used-space=x", "max-used-space is in bytes"],
  [48, "min-free-space=99999999999999999999", "value out of range"],
])("checkCacheLimits() at 1.%d refuses %s", (version, query, words) => {
  expect(() => checkCacheLimits(request(version, query))).toThrow(words);
});

test.each([
  [47, "keep-storage=1&reserved-space=x&max-used-space=x&min-free-space=x"],
  [48, "reserved-space=1&keep-storage=x&max-used-space=2&min-free-space=3"],
  [48, ""],
])("checkCacheLimits() at 1.%d takes %s", (version, query) => {
  expect(() => checkCacheLimits(request(version, query))).not.toThrow();
});
