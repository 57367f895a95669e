import fs from "node:fs";
import path from "node:path";
import { EngineError } from "@longshore/errors";

/** Who makes containers' cgroups: the runtime itself, or systemd, as scopes of its own. */
export type CgroupDriver = "cgroupfs" | "systemd";

/** Of the driver `cgroupfs`. */
const PATH_PARENT = "/longshore";
const OPTION = "native.cgroupdriver";
const DRIVERS: readonly string[] = ["cgroupfs", "systemd"] satisfies CgroupDriver[];
/** There where the hierarchy of version 2 is the only one. */
const UNIFIED = "/sys/fs/cgroup/cgroup.controllers";
const SYSTEMD_RUNS = "/run/systemd/system";
/** Its own, and that of the message bus. */
const SYSTEMD_SOCKETS: readonly string[] = ["/run/systemd/private", "/run/dbus/system_bus_socket"];
/** Under the driver `systemd` a container is `docker-<id>.scope`. */
const SCOPE_PREFIX = "docker";

/**
 * The cgroup driver that exec-opts ask for, `native.cgroupdriver=systemd`.
 *
 * @returns undefined where they say nothing
 * @throws EngineError `invalid_argument` in Docker's words, and by name for an option that Docker would ignore
 */
export function parseExecOpts(options: readonly string[]): CgroupDriver | undefined {
  const refuse = (why: string): never => {
    throw new EngineError("invalid_argument", why);
  };
  const drivers = options.map((option) => {
    const at = option.indexOf("=");
    if (at < 0) refuse(`unable to parse key/value option: ${option}`);
    const [key, value] = [option.slice(0, at).trim(), option.slice(at + 1).trim()];
    if (key.toLowerCase() !== OPTION) refuse(`${key} is not supported`);
    if (!DRIVERS.includes(value)) refuse(`${OPTION} option ${value} not supported`);
    return value as CgroupDriver;
  });
  if (new Set(drivers).size > 1) refuse(`${OPTION} is given as ${drivers.join(" and as ")}`);
  return drivers[0];
}

/**
 * The driver where none is asked for, as Docker chooses it: `systemd` where there is cgroup v2 alone and systemd runs and can be spoken with.
 *
 * @param root of the host's files
 */
export function defaultCgroupDriver(root = "/"): CgroupDriver {
  const isThere = (file: string) => fs.existsSync(path.join(root, file));
  const isSystemds = isThere(UNIFIED) && isThere(SYSTEMD_RUNS) && SYSTEMD_SOCKETS.some(isThere);
  return isSystemds ? "systemd" : "cgroupfs";
}

/** Where containers' cgroups are that name no parent. */
export function defaultCgroupParent(driver: CgroupDriver): string {
  return driver === "systemd" ? "system.slice" : PATH_PARENT;
}

/** @throws EngineError `failed_precondition` for the driver `systemd` where none is process 1 */
export function checkCgroupDriver(driver: CgroupDriver): void {
  if (driver !== "systemd" || fs.existsSync(SYSTEMD_RUNS)) return;
  const why = "systemd not running on this host, cannot use systemd cgroups manager";
  throw new EngineError("failed_precondition", `${OPTION} option systemd: ${why}`);
}

/** @throws EngineError `invalid_argument` for a parent that the driver can make no cgroup in; an empty one is none */
export function checkCgroupParent(parent: string, driver: CgroupDriver): void {
  if (driver !== "systemd" || parent === "" || /^[^/:]+\.slice$/.test(parent)) return;
  const message = 'cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"';
  throw new EngineError("invalid_argument", message);
}

/** A container's cgroup as the runtime specification's `linux.cgroupsPath` has it: a path, or runc's `slice:prefix:name`. */
export function cgroupsPathOf(id: string, { parent, driver }: { parent: string; driver: CgroupDriver }) {
  if (driver === "systemd") return `${parent}:${SCOPE_PREFIX}:${id}`;
  // Below the root, whatever dots are in it.
  return path.join("/", parent, id);
}

/** The name of the unit that systemd knows a container by. */
export function scopeOf(id: string): string {
  return `${SCOPE_PREFIX}-${id}.scope`;
}
