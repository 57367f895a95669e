import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { tempDir } from "@longshore/testkit";
import { resolveRuntime, shimBinaryName } from "./runtime-name.ts";

test("shimBinaryName() takes the last two parts of a runtime's name", () => {
  expect(shimBinaryName("io.containerd.runc.v2")).toBe("containerd-shim-runc-v2");
  expect(shimBinaryName("io.containerd.kata.v2")).toBe("containerd-shim-kata-v2");
  expect(shimBinaryName("runc.v2")).toBe("containerd-shim-runc-v2");
  expect(shimBinaryName("runc")).toBeUndefined();
  expect(shimBinaryName(".v2")).toBeUndefined();
});

test("resolveRuntime() looks beside our executable first, then along PATH", () => {
  using dir = tempDir();
  const install = (...parts: string[]) => {
    const file = path.join(dir.path, ...parts);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, "", { mode: 0o755 });
    return file;
  };
  const places = { beside: path.join(dir.path, "own"), path: `/nowhere:${path.join(dir.path, "bin")}` };
  const inPath = install("bin", "containerd-shim-runc-v2");
  expect(resolveRuntime("io.containerd.runc.v2", places)).toBe(inPath);
  const own = install("own", "containerd-shim-runc-v2");
  expect(resolveRuntime("io.containerd.runc.v2", places)).toBe(own);
  expect(resolveRuntime(inPath, places)).toBe(inPath);
});

test("resolveRuntime() says what is wrong in the original's words", () => {
  const places = { beside: "/nowhere", path: "" };
  expect(() => resolveRuntime("", places)).toThrow("no runtime name");
  expect(() => resolveRuntime("/no/such/shim", places)).toThrow(
    "invalid custom binary path: stat /no/such/shim",
  );
  expect(() => resolveRuntime("./shim", places)).toThrow("invalid runtime name ./shim, correct runtime name");
  expect(() => resolveRuntime("runc", places)).toThrow("invalid runtime name runc");
  expect(() => resolveRuntime("io.containerd.none.v9", places)).toThrow(
    'runtime "io.containerd.none.v9" binary not installed "containerd-shim-none-v9": file does not exist',
  );
});
