import fs from "node:fs";
import { Refusal } from "./refusal.ts";

/** Facts of a machine that the suite depends on. */
export interface Machine {
  platform: string;
  arch: string;
  uid: number;
  /** Text of `/proc/self/mounts`; undefined when it can't be read. */
  mounts: string | undefined;
  /** Text of `/etc/os-release`. */
  osRelease: string | undefined;
  hasAptGet: boolean;
}

/** Why this machine can't run the suite, the first reason, in one sentence; undefined when it can. */
export function unsupported(machine: Machine): string | undefined {
  const { platform, arch, uid, mounts, osRelease = "", hasAptGet } = machine;
  if (platform !== "linux" || arch !== "x64") return `needs Linux on x86_64, this is ${platform} on ${arch}`;
  if (uid !== 0) return "must run as root: it makes namespaces, mounts, cgroups and network bridges";
  if (mounts === undefined) return "/proc is not mounted";
  const types = new Set(mounts.split("\n").map((line) => line.split(" ")[2]));
  if (!types.has("cgroup") && !types.has("cgroup2"))
    return "no cgroup file system is mounted (at /sys/fs/cgroup)";
  const ids = /^ID(?:_LIKE)?=(.*)$/gm;
  const families = [...osRelease.matchAll(ids)].flatMap(([, value = ""]) =>
    value.replaceAll('"', "").split(" "),
  );
  if (!families.includes("debian") && !families.includes("ubuntu")) {
    const name = /^PRETTY_NAME="?([^"\n]*)/m.exec(osRelease)?.[1] ?? "an unknown system";
    return `needs Debian or Ubuntu, this is ${name}`;
  }
  if (!hasAptGet) return "needs apt-get to install what is missing";
  return undefined;
}

function read(file: string): string | undefined {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}

/** @throws Refusal when this machine can't run the suite */
export function checkMachine(): void {
  const reason = unsupported({
    platform: process.platform,
    arch: process.arch,
    uid: process.getuid?.() ?? -1,
    mounts: read("/proc/self/mounts"),
    osRelease: read("/etc/os-release"),
    hasAptGet: fs.existsSync("/usr/bin/apt-get"),
  });
  if (reason !== undefined) throw new Refusal(reason);
}
