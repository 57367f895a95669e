import { expect, test } from "bun:test";
import { compareVersions, splitVersion } from "./api-version.ts";

test("splitVersion() takes the version off, and means the newest without one", () => {
  expect(splitVersion("/v1.41/info")).toEqual({ version: "1.41", path: "/info" });
  expect(splitVersion("/info")).toEqual({ version: "1.55", path: "/info" });
  expect(splitVersion("/volumes")).toEqual({ version: "1.55", path: "/volumes" });
});

test("splitVersion() refuses versions out of range in Docker's words", () => {
  expect(() => splitVersion("/v1.56/info")).toThrow(
    "client version 1.56 is too new. Maximum supported API version is 1.55",
  );
  expect(() => splitVersion("/v1.23/info")).toThrow(
    /client version 1.23 is too old. Minimum supported API version is 1.24/,
  );
});

test("compareVersions() compares numbers, not text", () => {
  expect(compareVersions("1.9", "1.24")).toBeLessThan(0);
  expect(compareVersions("1.44", "1.44")).toBe(0);
});
