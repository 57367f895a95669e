import { expect, test } from "bun:test";
import { errorCode } from "@longshore/errors";
import { capabilityBits, parseProcess, parseResources, parseSpec } from "./index.ts";

const minimal = { ociVersion: "1.0.2", process: { cwd: "/", args: ["sh"] }, root: { path: "rootfs" } };

function failure(run: () => unknown): { message: string; code: string } {
  try {
    run();
  } catch (error) {
    return { message: error instanceof Error ? error.message : "", code: errorCode(error) };
  }
  throw new Error("nothing was thrown");
}

test("parseSpec() takes what it knows and leaves members alone that no specification has", () => {
  const spec = parseSpec(JSON.stringify({ ...minimal, somethingElse: 1, hostname: null }));
  expect(spec.root?.path).toBe("rootfs");
  expect(spec.hostname).toBeUndefined();
});

test.each([
  [{ process: { cwd: "/", user: { uid: -5 } } }, "process.user.uid", "invalid_argument"],
  [{ process: { cwd: "/", args: ["a\0b"] } }, "process.args[0]", "invalid_argument"],
  [{ hooks: { poststop: [{ path: "true" }] } }, "hooks.poststop[0].path", "invalid_argument"],
  [{ linux: { namespaces: [{ type: "moon" }] } }, "linux.namespaces[0].type", "invalid_argument"],
  [{ linux: { intelRdt: { schemata: "x" } } }, "linux.intelRdt.schemata", "invalid_argument"],
  [
    { mounts: [{ destination: "/a", uidMappings: [{ size: 1 }] }] },
    "mounts[0].uidMappings[0].containerID",
    "invalid_argument",
  ],
  [
    { linux: { resources: { rdma: { mlx: { hcaHandles: -1 } } } } },
    'linux.resources.rdma["mlx"].hcaHandles',
    "invalid_argument",
  ],
])("parseSpec() refuses %j and names the field", (change, field, code) => {
  const { message, code: found } = failure(() => parseSpec(JSON.stringify({ ...minimal, ...change })));
  expect(message).toContain(field);
  expect(found).toBe(code);
});

test("parseSpec() says what is wrong with text that is no JSON", () => {
  expect(failure(() => parseSpec("{")).message).toContain("config.json is not JSON");
  expect(failure(() => parseSpec("[]")).message).toBe("invalid config.json: must be an object");
});

test("parseProcess() and parseResources() check their object alone", () => {
  expect(parseProcess('{"cwd":"/","args":["x"]}').args).toEqual(["x"]);
  expect(failure(() => parseResources('{"pids":{"limit":"many"}}')).message).toContain(
    "resources.pids.limit",
  );
});

test("capabilityBits() leaves out what the kernel or we don't know", () => {
  expect(capabilityBits(["CAP_CHOWN", "CAP_BPF", "CAP_NOPE"], 38)).toBe(1n);
  expect(capabilityBits(["CAP_BPF"])).toBe(1n << 39n);
});
