import { expect, test } from "bun:test";
import fs from "node:fs";
import { Options as RuncOptions } from "@longshore/api/containerd/types/runc/options/oci";
import { Options as OtherOptions } from "@longshore/api/containerd/types/runtimeoptions/v1/api";
import { run, tempDir } from "@longshore/testkit";
import type { CgroupDriver } from "./cgroup-driver.ts";
import { checkRuntime, chooseShim, type RuntimeConfig, writeWrappers } from "./runtimes.ts";

const settings = (runtimes: Record<string, RuntimeConfig>, dataRoot = "/data") => ({
  runtimes: new Map(Object.entries(runtimes)),
  dataRoot,
  execRoot: "/exec",
  cgroupDriver: "cgroupfs" as CgroupDriver,
});

function runcOptions(name: string, runtimes: Record<string, RuntimeConfig> = {}) {
  const { name: shim, options } = chooseShim(name, settings(runtimes));
  expect(options?.typeUrl).toBe("containerd.runc.v1.Options");
  const { binaryName, root, systemdCgroup } = RuncOptions.decode(options?.value ?? Buffer.alloc(0));
  return { shim, binaryName, root, systemdCgroup };
}

test("chooseShim(): runc, a path, a shim by name, a shim by path, each with the root that is ours", () => {
  const plain = { shim: "io.containerd.runc.v2", binaryName: "", root: "/exec/runc", systemdCgroup: false };
  expect(runcOptions("runc")).toEqual(plain);
  expect(runcOptions("io.containerd.runc.v2")).toEqual(plain);
  expect(runcOptions("crun", { crun: { path: "/usr/bin/crun" } })).toEqual({
    ...plain,
    binaryName: "/usr/bin/crun",
  });
  const runtimeType = "/opt/containerd-shim-runc-v2";
  const options = { BinaryName: "/usr/bin/crun", systemdCgroup: true, Root: "/r" };
  expect(runcOptions("o", { o: { runtimeType, options } })).toEqual({
    shim: runtimeType,
    binaryName: "/usr/bin/crun",
    root: "/r",
    systemdCgroup: true,
  });
});

test("chooseShim(): runc's shim uses systemd where that is the cgroup driver, unless its options say otherwise", () => {
  const through = (name: string, runtimes: Record<string, RuntimeConfig> = {}) => {
    const { options } = chooseShim(name, { ...settings(runtimes), cgroupDriver: "systemd" });
    return options && RuncOptions.decode(options.value).systemdCgroup;
  };
  const runtimeType = "io.containerd.runc.v2";
  expect(through("runc")).toBe(true);
  expect(through(runtimeType)).toBe(true);
  expect(through("crun", { crun: { path: "/usr/bin/crun" } })).toBe(true);
  expect(through("bare", { bare: { runtimeType } })).toBe(true);
  expect(through("off", { off: { runtimeType, options: { SystemdCgroup: false } } })).toBe(false);
  expect(through("io.containerd.runsc.v1")).toBe(undefined);
});

test("chooseShim(): other shims get options only when there are some, in the form that they share", () => {
  expect(chooseShim("io.containerd.runsc.v1", settings({}))).toEqual({
    name: "io.containerd.runsc.v1",
    options: undefined,
  });
  const options = { TypeUrl: "io.x.options", ConfigPath: "/etc/x.toml" };
  const chosen = chooseShim("x", settings({ x: { runtimeType: "io.containerd.x.v1", options } }));
  expect(chosen.options?.typeUrl).toBe("runtimeoptions.v1.Options");
  expect(OtherOptions.decode(chosen.options?.value ?? Buffer.alloc(0))).toMatchObject({
    typeUrl: "io.x.options",
    configPath: "/etc/x.toml",
  });
});

test("chooseShim() refuses what isn't configured, and a path that only the configuration may name", () => {
  for (const name of ["nosuch", "/bin/shim", "a/b.c", ".x.y", ""])
    expect(() => chooseShim(name, settings({}))).toThrow(`unknown or invalid runtime name: ${name}`);
});

test("checkRuntime() refuses in Docker's words", () => {
  const refused: [string, RuntimeConfig, string][] = [
    ["runc", { path: "/x" }, "runtime name 'runc' is reserved"],
    ["a", {}, "runtime a: either a runtimeType or a path must be configured"],
    ["a", { path: "/x", runtimeType: "io.x.y" }, "cannot configure both path and runtimeType"],
    ["a", { path: "/x", options: { Root: "/" } }, "options cannot be used with a path runtime"],
    ["a", { runtimeType: "io.x.y", runtimeArgs: ["-v"] }, "runtimeArgs cannot be used with a runtimeType"],
    ["a", { runtimeType: "shim" }, "neither a shim's name"],
    ["a", { runtimeType: "io.containerd.runc.v2", options: { Nope: 1 } }, "runtime option Nope is not one"],
    ["a", { runtimeType: "io.containerd.runc.v2", options: { IoUid: "0" } }, "runtime option IoUid: "],
  ];
  for (const [name, runtime, words] of refused) expect(() => checkRuntime(name, runtime)).toThrow(words);
  checkRuntime("a", { path: "/x", runtimeArgs: ["-v"] });
});

test("writeWrappers(): a runtime with arguments is a script that hands them on, quoted; a change makes another", async () => {
  using dir = tempDir();
  const file = (args: string[]) => {
    const given = settings({ a: { path: "/bin/echo", runtimeArgs: args } }, dir.path);
    writeWrappers(given.runtimes, dir.path);
    const { options } = chooseShim("a", given);
    return RuncOptions.decode(options?.value ?? Buffer.alloc(0)).binaryName;
  };
  const first = file(["--of", "it's $HOME"]);
  expect((await run([first, "create", "a b"])).stdout).toBe("--of it's $HOME create a b\n");
  expect(file(["--other"])).not.toBe(first);
  expect(fs.existsSync(first)).toBe(true);
});
