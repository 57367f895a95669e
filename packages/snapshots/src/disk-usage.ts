import fs from "node:fs";
import { isErrno } from "@longshore/errors";
import type { SnapshotUsage } from "./snapshotter.ts";

/** So many entries are looked at before other work gets its turn. */
const BATCH = 500;

/** What a tree takes on disk, the root directory included. Entries that vanish meanwhile are not counted. */
export async function diskUsage(root: string): Promise<SnapshotUsage> {
  let bytes = 0;
  let looked = 0;
  const seen = new Set<number>();
  const queue = [root];
  for (let entry = queue.pop(); entry !== undefined; entry = queue.pop()) {
    if (++looked % BATCH === 0) await new Promise((resolve) => setImmediate(resolve));
    const stat = fs.lstatSync(entry, { throwIfNoEntry: false });
    if (!stat || seen.has(stat.ino)) continue;
    seen.add(stat.ino);
    bytes += stat.blocks * 512;
    if (stat.isDirectory()) queue.push(...childrenOf(entry));
  }
  return { sizeBytes: bytes, inodes: seen.size };
}

function childrenOf(dir: string): string[] {
  try {
    return fs.readdirSync(dir).map((name) => `${dir}/${name}`);
  } catch (error) {
    if (!isErrno(error, "ENOENT", "ENOTDIR")) throw error;
    return [];
  }
}
