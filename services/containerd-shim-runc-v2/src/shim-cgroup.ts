import { EngineError } from "@longshore/errors";
import { exists, readText, writeControl } from "@longshore/syscalls";

/**
 * Move this process into a cgroup that is there, in every hierarchy that has it: the runtime option `shim_cgroup`.
 *
 * @param group its path below the hierarchies' roots
 * @throws EngineError `not_found` when no hierarchy has it
 */
export function joinCgroup(group: string): void {
  const path = group.startsWith("/") ? group : `/${group}`;
  const groups = cgroupMounts()
    .map((point) => `${point}${path}/cgroup.procs`)
    .filter(exists);
  if (groups.length === 0 || path.split("/").includes("..")) {
    throw new EngineError("not_found", `failed to load cgroup ${group}: cgroup deleted`);
  }
  for (const procs of groups) writeControl(procs, String(process.pid));
}

/** Where the hierarchies are. */
export function cgroupMounts(): string[] {
  const points: string[] = [];
  for (const line of readText("/proc/self/mountinfo").split("\n")) {
    // 36 35 98:0 /root /mount/point options [fields…] - type source super,options
    const [left = "", right = ""] = line.split(" - ");
    const [, , , , point] = left.split(" ");
    if (point !== undefined && /^cgroup2? /.test(right)) points.push(point);
  }
  return points;
}
