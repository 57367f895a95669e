import { expect, test } from "bun:test";
import { checkValues } from "./check-values.ts";
import { createRequestSchema } from "./container-config.ts";

const check = (request: object) => () => checkValues(createRequestSchema.parse({ Image: "a", ...request }));

test("checkValues() lets through what can be meant", () => {
  for (const Image of ["a", "a:1", "host:5000/a/b@sha256:".concat("0".repeat(64)), "f".repeat(64), ""])
    expect(check({ Image })).not.toThrow();
  expect(check({ WorkingDir: "/x", Env: ["A=", "B", "C==x"] })).not.toThrow();
  for (const NanoCpus of [0, 10_000_000, 1e9]) expect(check({ HostConfig: { NanoCpus } })).not.toThrow();
});

test.each([
  [{ Image: "UPPER" }, /repository name .*must be lowercase/],
  [{ WorkingDir: "x" }, "the working directory 'x' is invalid, it needs to be an absolute path"],
  [{ Env: ["=x"] }, "invalid environment variable: =x"],
  [{ HostConfig: { NetworkMode: "container:" } }, "invalid container format container:<name|id>"],
  [{ HostConfig: { NanoCpus: 9_999_999 } }, /range of CPUs is from 0\.01 to \d+\.00/],
  [{ HostConfig: { NanoCpus: 1e15 } }, /as there are only \d+ CPUs available/],
  [{ HostConfig: { NanoCpus: -1 } }, /range of CPUs/],
])("checkValues() refuses %j", (request, message) => {
  expect(check(request)).toThrow(message);
});
