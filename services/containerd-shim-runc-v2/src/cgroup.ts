import { readDirectory, readText, readTextIfExists } from "@longshore/syscalls";
import { readKeyed } from "./control-file.ts";

/** Where a container's cgroups are in the file system. */
export type ContainerCgroup =
  | { version: 2; path: string }
  /** By controller, the named ones without their `name=`. */
  | { version: 1; paths: ReadonlyMap<string, string> };

/** The cgroups that a process is in, seen from the host. */
export function containerCgroup(pid: number): ContainerCgroup {
  return locateCgroup(membershipOf(pid));
}

/** The kernel's words on which cgroups a process is in: to be kept, and located when it is gone. */
export function membershipOf(pid: number): string {
  return readText(`/proc/${pid}/cgroup`);
}

/** How often the kernel has killed a process in these cgroups for want of memory. */
export function oomKills(cgroup: ContainerCgroup): bigint {
  const file =
    cgroup.version === 2
      ? `${cgroup.path}/memory.events`
      : `${cgroup.paths.get("memory")}/memory.oom_control`;
  return readKeyed(file)("oom_kill");
}

export function locateCgroup(membership: string): ContainerCgroup {
  const own = parseCgroupFile(membership);
  const paths = new Map<string, string>();
  let unified: string | undefined;
  for (const line of readText("/proc/self/mountinfo").split("\n")) {
    // 36 35 98:0 /root /mount/point options [fields…] - type source super,options
    const [left = "", right = ""] = line.split(" - ");
    const [, , , root = "", point = ""] = left.split(" ");
    const [type, , superOptions = ""] = right.split(" ");
    if (type === "cgroup2" && unified === undefined) unified = below(point, root, own.get("") ?? "/");
    if (type !== "cgroup") continue;
    for (const option of superOptions.split(",")) {
      const name = option.replace(/^name=/, "");
      const group = own.get(name);
      if (group !== undefined && !paths.has(name)) paths.set(name, below(point, root, group));
    }
  }
  if (paths.has("memory") || paths.has("cpu") || paths.has("pids")) return { version: 1, paths };
  return { version: 2, path: unified ?? "/sys/fs/cgroup" };
}

/** Every process in a container, its cgroups below included. */
export function pidsOf(cgroup: ContainerCgroup): number[] {
  const { version } = cgroup;
  const path = version === 2 ? cgroup.path : (cgroup.paths.get("pids") ?? cgroup.paths.get("devices") ?? "");
  const own = (readTextIfExists(`${path}/cgroup.procs`) ?? "").split("\n").filter(Boolean).map(Number);
  const children = readDirectory(path)
    .filter(({ type }) => type === 4)
    .flatMap(({ name }) =>
      pidsOf(
        version === 2
          ? { version, path: `${path}/${name}` }
          : { version, paths: new Map([["pids", `${path}/${name}`]]) },
      ),
    );
  return [...own, ...children];
}

/** `/proc/PID/cgroup`: controller → path; the unified hierarchy under "". */
export function parseCgroupFile(text: string): Map<string, string> {
  const paths = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, controllers, ...path] = line.split(":");
    if (controllers === undefined) continue;
    for (const controller of controllers.split(","))
      paths.set(controller.replace(/^name=/, ""), path.join(":"));
  }
  return paths;
}

function below(point: string, root: string, group: string): string {
  const inside = root !== "/" && group.startsWith(root) ? group.slice(root.length) : group;
  return `${point}${inside === "/" ? "" : inside}`;
}
