import fs from "node:fs";
import { copyTree } from "@longshore/archive";
import { DirectorySnapshotter, type Layout, type SnapshotterOptions } from "./directory-snapshotter.ts";
import { bindMount } from "./snapshotter.ts";

/**
 * Snapshots as whole copies, for file systems on which overlayfs doesn't work: `<id>` is the root directory of each, a view shows its
 * parent's. The answers of `mounts` are those of containerd's own native snapshotter.
 */
export class NativeSnapshotter extends DirectorySnapshotter {
  static async open(options: SnapshotterOptions): Promise<NativeSnapshotter> {
    const snapshotter = new NativeSnapshotter("native", NATIVE_LAYOUT, options);
    await snapshotter.load();
    return snapshotter;
  }
}

const NATIVE_LAYOUT: Layout = {
  async make({ kind, directory }, parent) {
    if (parent === undefined) fs.chmodSync(directory, 0o755);
    else if (kind === "active") await copyTree(parent, directory);
  },
  mounts({ kind, directory }, [parent]) {
    if (kind === "view") return [bindMount(parent ?? directory, "ro")];
    return [bindMount(directory, "rw")];
  },
  contents: (directory) => directory,
};
