import { S_IFCHR, S_IFDIR, S_IFMT } from "@longshore/syscalls";
import { closeSync } from "./descriptors.ts";
import type { FileTimes, RootedTree } from "./rooted-tree.ts";
import { statusOf } from "./tree-paths.ts";

/** Marks a directory of an overlayfs layer that hides what the layers below have under its name. */
export const OPAQUE_XATTR = "trusted.overlay.opaque";

interface Found {
  readonly tree: RootedTree;
  readonly status: FileTimes;
}

/**
 * The entry of the uppermost layer of an overlay that has it, unless a layer above that one hides it.
 *
 * @param layers uppermost first
 * @param path without links
 */
export function lookUp(layers: readonly RootedTree[], path: string): Found | undefined {
  const parts = path.split("/");
  layer: for (const tree of layers) {
    let directory = "";
    for (const [index, base] of parts.entries()) {
      const at = directory === "" ? base : `${directory}/${base}`;
      const status = statusOf(tree, at);
      if (!status) continue layer;
      if (isWhiteout(status)) return undefined;
      if (index === parts.length - 1) return { tree, status };
      if (!isDirectory(status)) return undefined;
      directory = at;
      if (isOpaque(tree, directory)) return inOne(tree, directory, parts.slice(index + 1));
    }
  }
  return undefined;
}

/** The entry in a layer that hides all below it. */
function inOne(tree: RootedTree, directory: string, parts: readonly string[]): Found | undefined {
  let at = directory;
  for (const [index, base] of parts.entries()) {
    at = `${at}/${base}`;
    const status = statusOf(tree, at);
    if (!status || isWhiteout(status)) return undefined;
    if (index === parts.length - 1) return { tree, status };
  }
  return undefined;
}

/** Whether a directory hides what is below it in other layers. */
export function isOpaque(tree: RootedTree, path: string): boolean {
  const fd = tree.openDirectory(path);
  if (fd === undefined) return false;
  try {
    return tree.xattrs(fd).get(OPAQUE_XATTR) === "y";
  } finally {
    closeSync(fd);
  }
}

/** Whether it stands for a name that was deleted. */
export function isWhiteout({ mode, rdev }: { mode: number; rdev: number }): boolean {
  return (mode & S_IFMT) === S_IFCHR && rdev === 0;
}

export function isDirectory({ mode }: { mode: number }): boolean {
  return (mode & S_IFMT) === S_IFDIR;
}
