import fs from "node:fs";

/** All shims that run, ours and real ones, with their command lines. */
export function runningShims(): { pid: number; words: string[] }[] {
  return fs.readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const words = fs.readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0");
      return /containerd-shim-runc-v2$/.test(words[0] ?? "") ? [{ pid: Number(name), words }] : [];
    } catch {
      return []; // it has ended
    }
  });
}

/** Those that a daemon keeps for containers to come. */
export function standbyShims(daemon: number): number[] {
  const children = fs.readFileSync(`/proc/${daemon}/task/${daemon}/children`, "utf8").split(" ");
  return runningShims()
    .filter(({ pid, words }) => words[1] === "standby" && children.includes(String(pid)))
    .map(({ pid }) => pid);
}
