import { execFileSync } from "node:child_process";
import fs from "node:fs";

function executable(pid: number): string | undefined {
  try {
    const file = fs.readlinkSync(`/proc/${pid}/exe`);
    // A shim that sleeps.
    return file.startsWith("/memfd:") ? read(`/proc/${pid}/cmdline`).split("\0")[0] : file;
  } catch {
    return undefined; // a kernel thread, or gone
  }
}

function read(file: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return ""; // gone
  }
}

export interface ProcessTreeOptions {
  /** Processes that are shown. */
  pids: number[];
  /** Also those whose executable is from `binDir` and whose command line names something below `runDir`: the shims. */
  binDir: string;
  runDir: string;
}

/** `ps -ef --forest` of one suite: its daemons, its shims, and what descends from them. */
export function processTree({ pids, binDir, runDir }: ProcessTreeOptions): string {
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
    const ours = executable(pid)?.startsWith(`${binDir}/`) ?? false;
    if (ours && read(`/proc/${pid}/cmdline`).includes(`${runDir}/`)) shown.add(pid);
  }
  // A child may stand before its parent only where process numbers have wrapped round: repeat until nothing is added.
  for (let size = -1; size !== shown.size; ) {
    size = shown.size;
    for (const { pid, parent } of rows) if (shown.has(parent)) shown.add(pid);
  }
  const kept = rows.filter(({ pid }) => shown.has(pid)).map(({ line }) => line);
  return [header, ...withoutAncestors(kept, header.indexOf("CMD"))].join("\n");
}

/** Take away the part of the tree's branches that leads to processes which aren't shown. */
function withoutAncestors(lines: string[], column: number): string[] {
  const branches = lines.map((line) => /^[ |\\_]*/.exec(line.slice(column))?.[0].length ?? 0);
  const common = Math.max(0, Math.min(...branches) - 4);
  return lines.map((line) => line.slice(0, column) + line.slice(column + common));
}
