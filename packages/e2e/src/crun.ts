import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { findStaticBusybox } from "@longshore/suite";
import { tempDir } from "@longshore/testkit";

/** What `docker run` needs to be told for crun to work here, or why it can't. */
export type CrunWay = { flags: string[]; refusal?: undefined } | { flags?: undefined; refusal: string };

/**
 * Whether crun can run a container here, from trying. Its version 1.8 refuses version 2 controllers beside version 1 ones; and with
 * version 2 it wants a right to lock memory that not every root has, unless all devices are allowed.
 */
export function crunWay(crun: string | undefined): CrunWay {
  if (crun === undefined) return { refusal: "the peer is not installed" };
  const refusal = tryCrun(crun, []);
  if (refusal === undefined) return { flags: [] };
  return tryCrun(crun, [{ allow: true, access: "rwm" }]) === undefined
    ? { flags: ["--privileged"] }
    : { refusal };
}

/** Why crun can't run a container with such rules for devices, its own when there are none; undefined when it can. */
function tryCrun(crun: string, devices: object[]): string | undefined {
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
    linux: { cgroupsPath?: string; resources: { devices: object[] } };
  };
  config.process.args = ["/bin/true"];
  config.process.terminal = false;
  if (devices.length > 0) config.linux.resources.devices = devices;
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
