import { expect, test } from "bun:test";
import { mergeEnv, processEnv, withImageEnv } from "./environment.ts";

test("processEnv() has PATH and HOSTNAME, and TERM on a terminal", () => {
  const env = processEnv({ env: ["A=1"], hostname: "h", terminal: true });
  expect(env).toContain("HOSTNAME=h");
  expect(env).toContain("TERM=xterm");
  expect(env.find((entry) => entry.startsWith("PATH="))).toContain("/usr/bin");
  expect(env.at(-1)).toBe("A=1");
});

test("withImageEnv() has a container's own variables first", () => {
  expect(withImageEnv(["B=1", "C"], ["A=1", "B=2", "C=3"])).toEqual(["B=1", "C", "A=1"]);
});

test("a later variable counts, and a bare name takes one away", () => {
  expect(mergeEnv(["A=1", "B=2"], ["A=3"])).toEqual(["A=3", "B=2"]);
  expect(processEnv({ env: ["PATH"], hostname: "h", terminal: false })).toEqual(["HOSTNAME=h"]);
});
