import { readText, statfs } from "@longshore/syscalls";

export const CGROUP_ROOT = "/sys/fs/cgroup";
const CGROUP2_MAGIC = 0x63677270;

/** One mounted hierarchy: of cgroup v1 with some controllers or a name, or the unified one of v2. */
export interface Hierarchy {
  version: 1 | 2;
  mountpoint: string;
  /** Of v1: controllers, or `name=systemd`. Of v2: none; see its `cgroup.controllers`. */
  controllers: string[];
  /** The group of this process in it, with its leading slash. */
  own: string;
}

/** Whether the machine has v2 only, as opposed to v1 with or without a unified hierarchy beside it. */
export function isUnified(): boolean {
  return statfs(CGROUP_ROOT).type === CGROUP2_MAGIC;
}

/** `id:controllers:path` lines of /proc/PID/cgroup, as controllers → path; the unified hierarchy's key is "". */
export function parseOwnGroups(text: string): Map<string, string> {
  const groups = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, controllers, ...path] = line.split(":");
    if (controllers !== undefined) groups.set(controllers, path.join(":"));
  }
  return groups;
}

/** The cgroup mounts of a mountinfo (proc(5)); of several mounts of one hierarchy the first counts. */
export function parseHierarchies(mountinfo: string, groups: ReadonlyMap<string, string>): Hierarchy[] {
  const found = new Map<string, Hierarchy>();
  for (const line of mountinfo.split("\n")) {
    if (!line.includes(" - cgroup")) continue;
    const [before = "", after = ""] = line.split(" - ");
    const mountpoint = (before.split(" ")[4] ?? "").replaceAll("\\040", " ");
    const [type, , superOptions = ""] = after.split(" ");
    if (!mountpoint.startsWith(CGROUP_ROOT)) continue;
    if (type === "cgroup2") {
      if (!found.has(""))
        found.set("", { version: 2, mountpoint, controllers: [], own: groups.get("") ?? "/" });
      continue;
    }
    const options = superOptions.split(",");
    for (const [key, own] of groups) {
      const controllers = key.split(",");
      if (key === "" || found.has(key) || !controllers.every((name) => options.includes(name))) continue;
      found.set(key, { version: 1, mountpoint, controllers, own });
    }
  }
  return [...found.values()];
}

/** The hierarchies of this machine. */
export function hierarchies(): Hierarchy[] {
  const groups = parseOwnGroups(readText("/proc/self/cgroup"));
  if (isUnified()) {
    return [{ version: 2, mountpoint: CGROUP_ROOT, controllers: [], own: groups.get("") ?? "/" }];
  }
  return parseHierarchies(readText("/proc/self/mountinfo"), groups);
}
