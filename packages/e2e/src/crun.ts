import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { findStaticBusybox } from "@longshore/suite";
import { tempDir } from "@longshore/testkit";

/**
 * Why crun can't run a container here, from trying; undefined when it can. Its version 1.8 refuses version 2 controllers beside version 1
 * ones, and wants a right to lock memory that not every root has.
 */
export function crunRefusal(crun: string): string | undefined {
  const busybox = findStaticBusybox();
  if (!busybox) return "no static busybox to try it with";
  using dir = tempDir();
  fs.mkdirSync(path.join(dir.path, "rootfs/bin"), { recursive: true });
  for (const name of ["proc", "sys", "dev"]) fs.mkdirSync(path.join(dir.path, "rootfs", name));
  fs.copyFileSync(busybox, path.join(dir.path, "rootfs/bin/true"));
  const execute = (...args: string[]) =>
    spawnSync(crun, ["--root", path.join(dir.path, "state"), ...args], {
      cwd: dir.path,
      encoding: "utf8",
      timeout: 20_000,
    });
  execute("spec");
  const file = path.join(dir.path, "config.json");
  const config = JSON.parse(fs.readFileSync(file, "utf8")) as {
    process: { args: string[]; terminal: boolean };
    linux: { cgroupsPath?: string };
  };
  config.process.args = ["/bin/true"];
  config.process.terminal = false;
  const group = `longshore-crun-${process.pid}`;
  config.linux.cgroupsPath = `/${group}`;
  fs.writeFileSync(file, JSON.stringify(config));
  const { status, stderr } = execute("run", "try");
  execute("delete", "--force", "try");
  for (const hierarchy of ["", ...fs.readdirSync("/sys/fs/cgroup")]) {
    const left = path.join("/sys/fs/cgroup", hierarchy, group);
    if (fs.existsSync(left)) fs.rmdirSync(left);
  }
  return status === 0 ? undefined : `crun can't run here: ${(stderr ?? "").trim()}`;
}
