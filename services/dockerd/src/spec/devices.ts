import fs from "node:fs";
import path from "node:path";
import { EngineError, isErrno } from "@longshore/errors";
import type { Device, DeviceRule } from "@longshore/oci";
import type { HostConfig } from "../containers/container-config.ts";

const DEVICE_TYPE = { char: "c", block: "b" } as const;
const RULE = /^([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})$/;

/** Denied but for null, zero, full, random, urandom, tty, console and terminals; fuse named, as Docker does. */
const DEFAULT_RULES: DeviceRule[] = [
  { allow: false, access: "rwm" },
  ...[5, 3, 9, 8].map((minor) => ({ allow: true, type: "c", major: 1, minor, access: "rwm" })),
  { allow: true, type: "c", major: 5, minor: 0, access: "rwm" },
  { allow: true, type: "c", major: 5, minor: 1, access: "rwm" },
  { allow: false, type: "c", major: 10, minor: 229, access: "rwm" },
];

/** Directories of /dev that a privileged container has of its own. */
const OWN_DIRECTORIES = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"];

/**
 * A container's device nodes and the rules of its device cgroup.
 * @throws EngineError `invalid_argument` for a rule that can't be read or a host path that is no device
 */
export function devicesOf(host: HostConfig): { devices: Device[]; rules: DeviceRule[] } {
  if (host.Privileged) {
    return { devices: allDevices("/dev"), rules: [{ allow: true, access: "rwm" }] };
  }
  const devices: Device[] = [];
  const rules = [...DEFAULT_RULES];
  for (const { PathOnHost, PathInContainer, CgroupPermissions } of host.Devices) {
    const device = readDevice(PathOnHost, PathInContainer || PathOnHost);
    devices.push(device);
    const { path: _, fileMode: __, uid: ___, gid: ____, ...node } = device;
    rules.push({ allow: true, ...node, access: CgroupPermissions || "rwm" });
  }
  return { devices, rules: [...rules, ...host.DeviceCgroupRules.map(parseRule)] };
}

function readDevice(hostPath: string, containerPath: string): Device {
  try {
    const device = toDevice(fs.statSync(hostPath), containerPath);
    if (device) return device;
  } catch (error) {
    if (!isErrno(error, "ENOENT", "ENOTDIR")) throw error;
  }
  throw new EngineError(
    "invalid_argument",
    `error gathering device information while adding custom device ${JSON.stringify(hostPath)}: not a device node`,
  );
}

function toDevice(stat: fs.Stats, containerPath: string): Device | undefined {
  const kind = stat.isCharacterDevice() ? "char" : stat.isBlockDevice() ? "block" : undefined;
  if (!kind) return undefined;
  return {
    path: containerPath,
    type: DEVICE_TYPE[kind],
    major: majorOf(stat.rdev),
    minor: minorOf(stat.rdev),
    fileMode: stat.mode & 0o777,
    uid: stat.uid,
    gid: stat.gid,
  };
}

/** @see glibc `sys/sysmacros.h` */
function majorOf(rdev: number): number {
  return (Math.floor(rdev / 2 ** 8) & 0xfff) | (Math.floor(rdev / 2 ** 32) & 0xfffff000);
}

function minorOf(rdev: number): number {
  return (rdev & 0xff) | (Math.floor(rdev / 2 ** 12) & 0xffffff00);
}

function allDevices(directory: string): Device[] {
  const found: Device[] = [];
  for (const entry of fs.readdirSync(directory, { withFileTypes: true })) {
    const file = path.join(directory, entry.name);
    if (entry.isDirectory()) {
      if (directory !== "/dev" || !OWN_DIRECTORIES.includes(entry.name)) found.push(...allDevices(file));
      continue;
    }
    if (file === "/dev/console" || (!entry.isCharacterDevice() && !entry.isBlockDevice())) continue;
    const device = toDevice(fs.statSync(file), file);
    if (device) found.push(device);
  }
  return found;
}

function parseRule(text: string): DeviceRule {
  const [, type, major, minor, access] = RULE.exec(text) ?? [];
  if (type === undefined || access === undefined) {
    throw new EngineError("invalid_argument", `invalid device cgroup rule format: '${text}'`);
  }
  return {
    allow: true,
    type,
    access,
    ...(major !== "*" && { major: Number(major) }),
    ...(minor !== "*" && { minor: Number(minor) }),
  };
}
