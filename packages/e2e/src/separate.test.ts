import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { output, run } from "@longshore/testkit";
import { binDir, ours, useWorld } from "./world.ts";

const repository = path.resolve(import.meta.dir, "../../..");
const outDir = fs.mkdtempSync(path.join(repository, "dist/separate-"));
afterAll(() => fs.rmSync(outDir, { recursive: true, force: true }));

const names = ["docker", "dockerd", "containerd", "containerd-shim-runc-v2", "runc", "registry-client"];

beforeAll(async () => {
  const build = path.join(repository, "packages/tooling/src/build.ts");
  await output([process.execPath, build, "--separate", "--out-dir", outDir], {
    cwd: repository,
    timeoutMs: 100_000,
  });
}, 110_000);

describe.each([
  ["linked", () => binDir],
  ["separate", () => path.join(outDir, "bin")],
])("%s executables", (layout, dir) => {
  test.each(names)("%s answers --version and --help", async (name) => {
    const version = await run([path.join(dir(), name), "--version"]);
    expect(version).toMatchObject({ status: 0, stderr: "" });
    expect(version.stdout).toStartWith(`${name} version `);
    const help = await run([path.join(dir(), name), "--help"]);
    expect(help).toMatchObject({ status: 0, stderr: "" });
    expect(help.stdout).toMatch(/^usage:/im);
  });

  test("they are one file, or one each", () => {
    const inodes = new Set(names.map((name) => fs.statSync(path.join(dir(), name)).ino));
    expect(inodes.size).toBe(layout === "linked" ? 1 : names.length);
  });
});

describe("an engine of separate executables", () => {
  const world = useWorld({ binDir: path.join(outDir, "bin") });

  test("docker run", async () => {
    const docker = world().docker({ ...ours, path: path.join(outDir, "bin/docker") });
    expect(await docker("run", "--rm", world().busybox, "echo", "apart")).toBe("apart");
  });
});
