import { spawnSync } from "node:child_process";
import fs from "node:fs";

export interface TempDir extends Disposable {
  readonly path: string;
}

/** Whether something is mounted at or below a directory. */
export function mountsBelow(dir: string): string[] {
  const lines = fs.readFileSync("/proc/self/mountinfo", "utf8").trim().split("\n");
  const points = lines.map((line) => line.split(" ")[4] ?? "");
  return points.filter((point) => point === dir || point.startsWith(`${dir}/`));
}

/**
 * A directory for one test, removed with all it holds. Its path is short, because the paths of unix sockets must be.
 * Disposing it throws when something is still mounted in it, after taking that away.
 */
export function tempDir(): TempDir {
  const path = fs.mkdtempSync("/tmp/ls-");
  fs.chmodSync(path, 0o711);
  return {
    path,
    [Symbol.dispose]() {
      const mounted = mountsBelow(path);
      for (const point of mounted.toReversed()) spawnSync("umount", ["--lazy", point]);
      fs.rmSync(path, { recursive: true, force: true });
      if (mounted.length > 0) throw new Error(`left mounted: ${mounted.join(", ")}`);
    },
  };
}
