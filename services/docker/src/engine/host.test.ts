import { expect, test } from "bun:test";
import { isOlder } from "./client.ts";
import { engineHost } from "./host.ts";

test("engineHost() takes the flag, the environment, then the suite's own socket", () => {
  expect(engineHost("unix:///a", { DOCKER_HOST: "unix:///b" }).unix).toBe("/a");
  expect(engineHost("", { DOCKER_HOST: "unix:///b" }).unix).toBe("/b");
  expect(engineHost(undefined, {}).unix).toBe("/run/longshore/docker.sock");
  expect(engineHost("tcp://[::1]:99", {}).tcp).toEqual({ hostname: "::1", port: 99 });
  expect(engineHost("tcp://h.example", {}).tcp).toEqual({ hostname: "h.example", port: 2375 });
});

test.each([
  ["ssh://x", {}, "ssh:// is not supported"],
  ["tcp://x", { DOCKER_TLS_VERIFY: "1" }, "TLS is not supported"],
  [undefined, { DOCKER_CONTEXT: "far" }, "DOCKER_CONTEXT=far: contexts are not supported"],
])("engineHost(%p) is refused by name", (flag, env, message) => {
  expect(() => engineHost(flag, env)).toThrow(message);
});

test("isOlder() compares by number, not by text", () => {
  expect([isOlder("1.9", "1.10"), isOlder("1.41", "1.41"), isOlder("2.0", "1.99")]).toEqual([
    true,
    false,
    false,
  ]);
});
