import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { tempDir } from "@longshore/testkit";
import { parseFlags } from "../flags.ts";
import { cgroupsPathOf, checkCgroupParent, defaultCgroupDriver, parseExecOpts } from "./cgroup-driver.ts";
import { parseConfig } from "./config-file.ts";
import { loadSettings } from "./settings.ts";

test("parseExecOpts() takes the cgroup driver, and refuses all else by name", () => {
  expect(parseExecOpts([])).toBeUndefined();
  expect(parseExecOpts(["native.cgroupdriver=cgroupfs"])).toBe("cgroupfs");
  expect(parseExecOpts(["Native.CgroupDriver = systemd"])).toBe("systemd");
  const refused: [string[], string][] = [
    [["native.cgroupdriver=none"], "native.cgroupdriver option none not supported"],
    [["native.cgroupdriver="], "native.cgroupdriver option  not supported"],
    [["native.cgroupdriver"], "unable to parse key/value option: native.cgroupdriver"],
    [["isolation=process"], "isolation is not supported"],
    [
      ["native.cgroupdriver=systemd", "native.cgroupdriver=cgroupfs"],
      "native.cgroupdriver is given as systemd and as cgroupfs",
    ],
  ];
  for (const [options, why] of refused) expect(() => parseExecOpts(options)).toThrow(why);
});

test("exec-opts are taken by flag and from the file, with the field's name where they are wrong", () => {
  const wanted = { "exec-opts": ["native.cgroupdriver=systemd"] };
  expect(parseFlags(["--exec-opt", "native.cgroupdriver=systemd"]).flags).toEqual(wanted);
  expect(parseConfig(JSON.stringify(wanted), {})).toEqual(wanted);
  expect(() => parseFlags(["--exec-opt", "native.cgroupdriver=x"])).toThrow(
    "--exec-opt: native.cgroupdriver option x not supported",
  );
  expect(() => parseConfig('{"exec-opts": ["a=b"]}', {})).toThrow("exec-opts: a is not supported");
  expect(() => parseConfig('{"exec-opts": "a=b"}', {})).toThrow("exec-opts: ");
});

const load = (...argv: string[]) => loadSettings({ ...parseFlags(argv), configFile: undefined });

test("defaultCgroupDriver() is systemd with cgroup v2 alone, a systemd that runs, and a way to it; else cgroupfs", () => {
  using dir = tempDir();
  const put = (file: string) => {
    fs.mkdirSync(path.join(dir.path, path.dirname(file)), { recursive: true });
    fs.writeFileSync(path.join(dir.path, file), "");
  };
  const take = (file: string) => fs.rmSync(path.join(dir.path, file));
  const files = ["sys/fs/cgroup/cgroup.controllers", "run/systemd/system", "run/systemd/private"];
  expect(defaultCgroupDriver(dir.path)).toBe("cgroupfs");
  for (const file of files) put(file);
  expect(defaultCgroupDriver(dir.path)).toBe("systemd");
  for (const file of files) {
    take(file);
    expect([file, defaultCgroupDriver(dir.path)]).toEqual([file, "cgroupfs"]);
    put(file);
  }
  take("run/systemd/private");
  put("run/dbus/system_bus_socket");
  expect(defaultCgroupDriver(dir.path)).toBe("systemd");
});

test("loadSettings() refuses a cgroup parent that is no slice, and systemd where there is none", () => {
  const through = ["--exec-opt", "native.cgroupdriver=systemd"];
  const plain = ["--exec-opt", "native.cgroupdriver=cgroupfs"];
  expect(load(...plain)).toMatchObject({ cgroupDriver: "cgroupfs", cgroupParent: "/longshore" });
  expect(load().cgroupDriver).toBe(defaultCgroupDriver());
  expect(() => load(...through, "--cgroup-parent", "/longshore")).toThrow(
    'cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"',
  );
  if (fs.existsSync("/run/systemd/system"))
    expect(load(...through)).toMatchObject({ cgroupDriver: "systemd", cgroupParent: "system.slice" });
  else
    expect(() => load(...through)).toThrow(
      "native.cgroupdriver option systemd: systemd not running on this host, cannot use systemd cgroups manager",
    );
});

test("checkCgroupParent() takes a slice's name alone with systemd, anything without", () => {
  for (const parent of ["", "a.slice", "a-b.slice", "-.slice"]) checkCgroupParent(parent, "systemd");
  for (const parent of [".slice", "/a.slice", "a:b.slice", "a", "a.scope"]) {
    expect(() => checkCgroupParent(parent, "systemd")).toThrow("should be a valid slice");
    checkCgroupParent(parent, "cgroupfs");
  }
});

test("cgroupsPathOf() is runc's three parts with systemd, else a path below the root", () => {
  expect(cgroupsPathOf("id", { parent: "a.slice", driver: "systemd" })).toBe("a.slice:docker:id");
  expect(cgroupsPathOf("id", { parent: "/../a", driver: "cgroupfs" })).toBe("/a/id");
});
