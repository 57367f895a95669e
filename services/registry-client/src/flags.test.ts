import { expect, test } from "bun:test";
import { parsePullFlags, parseServeFlags, parseToolFlags } from "./flags.ts";

test("parseServeFlags() has the suite's defaults and takes repeated registries", () => {
  expect(parseServeFlags([])).toEqual({
    address: "/run/longshore/registry-client.sock",
    containerd: "/run/longshore/containerd/containerd.sock",
    logLevel: "info",
    hosts: { insecureRegistries: [], mirrors: [] },
  });
  const { hosts } = parseServeFlags([
    "--insecure-registry",
    "a:1",
    "--insecure-registry=b",
    "--registry-mirror",
    "http://m",
  ]);
  expect(hosts).toEqual({ insecureRegistries: ["a:1", "b"], mirrors: ["http://m"] });
});

test.each([
  [["--nope"], "Unknown option '--nope'"],
  [["x"], "serve takes no argument: x"],
  [["-l", "loud"], 'unknown log level "loud"'],
  [["--registry-mirror", "ftp://m"], "http(s) URL"],
  [["--registry-mirror", "https://u:p@m"], "without credentials"],
])("parseServeFlags(%j) is refused", (args, message) => {
  expect(() => parseServeFlags(args)).toThrow(message);
});

test("parseToolFlags() wants one name, and a user with a password", () => {
  expect(() => parseToolFlags("resolve", [])).toThrow("resolve takes one image name, not 0");
  expect(() => parseToolFlags("resolve", ["a", "b"])).toThrow("not 2");
  expect(() => parseToolFlags("resolve", ["a", "-u", "me"])).toThrow("go together");
  expect(parsePullFlags(["a", "--platform", "linux/arm64"]).platform).toEqual({
    os: "linux",
    architecture: "arm64",
    variant: "",
  });
});
