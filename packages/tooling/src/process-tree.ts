import { execFileSync } from "node:child_process";
import fs from "node:fs";

function executable(pid: number): string | undefined {
  try {
    return fs.readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return undefined; // a kernel thread, or gone
  }
}

/**
 * `ps -ef --forest`, but only the processes that run an executable of `binDirs`, those named by `pids`, and what descends from either.
 */
export function processTree(pids: number[], binDirs: string[]): string {
  const [header = "", ...lines] = execFileSync("ps", ["-ef", "--forest"], {
    encoding: "utf8",
    maxBuffer: 1 << 24,
  })
    .trimEnd()
    .split("\n");
  const shown = new Set(pids);
  const rows = lines.map((line) => {
    const [, pid, parent] = line.trim().split(/\s+/, 3).map(Number);
    return { line, pid: pid ?? 0, parent: parent ?? 0 };
  });
  for (const { pid } of rows) {
    const file = executable(pid);
    if (file && binDirs.some((dir) => file.startsWith(`${dir}/`))) shown.add(pid);
  }
  // A child may stand before its parent only where process numbers have wrapped round: repeat until nothing is added.
  for (let size = -1; size !== shown.size; ) {
    size = shown.size;
    for (const { pid, parent } of rows) if (shown.has(parent)) shown.add(pid);
  }
  return [header, ...rows.filter(({ pid }) => shown.has(pid)).map(({ line }) => line)].join("\n");
}
