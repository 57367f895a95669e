import fs from "node:fs";
import os from "node:os";

export function kernelVersion(): string {
  return os.release();
}

/** The name of the operating system, from its os-release file. */
export function operatingSystem(): { name: string; version: string } {
  const text = readOr("/etc/os-release", readOr("/usr/lib/os-release", ""));
  const value = (key: string) => new RegExp(`^${key}="?([^"\n]*)"?$`, "m").exec(text)?.[1] ?? "";
  return { name: value("PRETTY_NAME") || "Linux", version: value("VERSION_ID") };
}

/** Which cgroup hierarchy the host's memory controller is in. */
export function cgroupVersion(): "1" | "2" {
  return fs.existsSync("/sys/fs/cgroup/cgroup.controllers") ? "2" : "1";
}

export function readOr(file: string, fallback: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return fallback;
  }
}
