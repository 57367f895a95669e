import fs from "node:fs";

/** The number that a container's first process has on the host: the one of its cgroup that is process 1 of its namespace. */
export function initPid(id: string): number {
  for (const pid of fs.readdirSync("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      if (!fs.readFileSync(`/proc/${pid}/cgroup`, "utf8").includes(id)) continue;
      if (/^NSpid:\t\d+\t1$/m.test(fs.readFileSync(`/proc/${pid}/status`, "utf8"))) return Number(pid);
    } catch {
      // ended meanwhile
    }
  }
  throw new Error(`no init process of ${id}`);
}
