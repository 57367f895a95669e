import fs from "node:fs";
import path from "node:path";
import { EngineError, isErrno } from "@longshore/errors";
import type { Device, DeviceRule } from "@longshore/oci";
import type { HostConfig } from "../containers/container-config.ts";
import { majorOf, minorOf } from "./device-number.ts";

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
  const added = host.Devices.flatMap(({ PathOnHost, PathInContainer, CgroupPermissions }) =>
    readDevices(PathOnHost, PathInContainer || PathOnHost).map((device) => ({
      device,
      access: CgroupPermissions || "rwm",
    })),
  );
  if (host.Privileged) {
    // All of them, and those under names of their own.
    const devices = allDevices("/dev");
    const named = added.filter(({ device }) => !devices.some(({ path: taken }) => taken === device.path));
    return {
      devices: [...devices, ...named.map(({ device }) => device)],
      rules: [{ allow: true, access: "rwm" }],
    };
  }
  const rules = added.map(({ device, access }): DeviceRule => {
    const { path: _, fileMode: __, uid: ___, gid: ____, ...node } = device;
    return { allow: true, ...node, access };
  });
  return {
    devices: added.map(({ device }) => device),
    rules: [...DEFAULT_RULES, ...rules, ...host.DeviceCgroupRules.map(parseRule)],
  };
}

/** What can be told before the container starts. @throws EngineError `invalid_argument` in Docker's words */
export function checkDevices({ Devices, DeviceCgroupRules, DeviceRequests }: HostConfig): void {
  for (const { PathOnHost, CgroupPermissions } of Devices) {
    if (!path.isAbsolute(PathOnHost)) {
      throw new EngineError("invalid_argument", `bad format for path: ${PathOnHost}`);
    }
    if (CgroupPermissions !== "" && !/^[rwm]{1,3}$/.test(CgroupPermissions)) {
      throw new EngineError("invalid_argument", `bad mode specified: ${CgroupPermissions}`);
    }
  }
  DeviceCgroupRules.forEach(parseRule);
  const [first] = DeviceRequests;
  if (first === undefined) return;
  // There is no driver of any name.
  const capabilities = (first.Capabilities ?? []).map((set) => `[${set.join(" ")}]`).join(" ");
  throw new EngineError(
    "invalid_argument",
    `could not select device driver ${JSON.stringify(first.Driver ?? "")} with capabilities: [${capabilities}]`,
  );
}

/** A device, or all below a directory. */
function readDevices(hostPath: string, containerPath: string): Device[] {
  try {
    const stat = fs.statSync(hostPath);
    const device = toDevice(stat, containerPath);
    if (device) return [device];
    if (stat.isDirectory()) {
      const place = (file: string) => path.join(containerPath, path.relative(hostPath, file));
      return allDevices(hostPath).map((one) => ({ ...one, path: place(one.path) }));
    }
  } catch (error) {
    if (!isErrno(error, "ENOENT", "ENOTDIR")) throw error;
    throw new EngineError(
      "invalid_argument",
      `error gathering device information while adding custom device ${JSON.stringify(hostPath)}: no such file or directory`,
    );
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
