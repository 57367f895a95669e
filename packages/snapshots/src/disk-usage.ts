import { treeUsage } from "@longshore/archive";
import type { SnapshotUsage } from "./snapshotter.ts";

/** What a tree takes on disk, the root directory included. Entries that vanish meanwhile are not counted. */
export async function diskUsage(root: string): Promise<SnapshotUsage> {
  const { diskBytes, inodes } = await treeUsage(root);
  return { sizeBytes: diskBytes, inodes };
}
