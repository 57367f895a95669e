import fs from "node:fs";
import path from "node:path";
import { DirectorySnapshotter, type Layout, type SnapshotterOptions } from "./directory-snapshotter.ts";
import { bindMount } from "./snapshotter.ts";

/**
 * Snapshots as overlayfs layers: each has its own changes in `<id>/fs` (and overlayfs's `<id>/work`); what it stands on are the `fs`
 * directories of its ancestors. The answers of `mounts` are those of containerd's own overlayfs snapshotter.
 */
export class OverlaySnapshotter extends DirectorySnapshotter {
  static async open(options: SnapshotterOptions): Promise<OverlaySnapshotter> {
    const snapshotter = new OverlaySnapshotter("overlayfs", overlayLayout(), options);
    await snapshotter.load();
    return snapshotter;
  }
}

function overlayLayout(): Layout {
  // With index=on, an upper directory that was used with other lower ones is refused.
  const extraOptions = fs.existsSync("/sys/module/overlay/parameters/index") ? ["index=off"] : [];
  return {
    make({ kind, directory }, parent) {
      const upper = upperIn(directory);
      fs.mkdirSync(upper);
      fs.chmodSync(upper, 0o755);
      if (kind === "active") fs.mkdirSync(path.join(directory, "work"), { mode: 0o711 });
      if (parent !== undefined) takeOwner(directory, parent);
    },
    rebase: takeOwner,
    mounts({ kind, directory }, ancestors) {
      const parents = ancestors.map(upperIn);
      const [first] = parents;
      if (first === undefined) return [bindMount(upperIn(directory), kind === "view" ? "ro" : "rw")];
      if (kind === "view" && parents.length === 1) return [bindMount(first, "ro")];
      const writable =
        kind === "active" ? [`workdir=${directory}/work`, `upperdir=${upperIn(directory)}`] : [];
      const options = [...writable, `lowerdir=${parents.join(":")}`, ...extraOptions];
      return [{ type: "overlay", source: "overlay", options }];
    },
    contents: upperIn,
  };
}

/** The root directory's owner is the topmost layer's. */
function takeOwner(directory: string, parent: string): void {
  const { uid, gid } = fs.statSync(upperIn(parent));
  if (uid !== 0 || gid !== 0) fs.chownSync(upperIn(directory), uid, gid);
}

const upperIn = (directory: string) => path.join(directory, "fs");
