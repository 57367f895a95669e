import fs from "node:fs";
import { S_IFCHR, S_IFDIR, S_IFMT } from "@longshore/syscalls";
import { type FileTimes, RootedTree } from "./rooted-tree.ts";

export interface PathChange {
  /** Relative, a byte string (latin1). */
  path: string;
  kind: "modified" | "added" | "deleted";
}

const OPAQUE_XATTR = "trusted.overlay.opaque";

/**
 * What an overlayfs upper directory changes of the layers below it, each directory before its content, without mounting anything.
 * A directory counts as modified when something in it was. What a new directory hides is not listed one by one.
 *
 * @param lower uppermost first
 */
export function upperChanges(upper: string, lower: readonly string[]): PathChange[] {
  using resources = new DisposableStack();
  const above = resources.use(new RootedTree(upper));
  const below = lower.map((directory) => resources.use(new RootedTree(directory)));
  const changes: PathChange[] = [];
  walk(above, below, "", changes);
  return changes;
}

function walk(
  above: RootedTree,
  below: readonly RootedTree[],
  directory: string,
  changes: PathChange[],
): void {
  for (const base of namesIn(above, directory)) {
    const path = directory === "" ? base : `${directory}/${base}`;
    const status = statusOf(above, directory, base);
    if (!status) continue; // gone meanwhile
    if (isWhiteout(status)) {
      changes.push({ path, kind: "deleted" });
      continue;
    }
    const before = lookup(below, path);
    changes.push({ path, kind: before ? "modified" : "added" });
    if (!isDirectory(status)) continue;
    const merged = before !== undefined && isDirectory(before) && !isOpaque(above, path);
    walk(above, merged ? below : [], path, changes);
  }
}

/** The entry of the uppermost layer that has it, unless a layer above that one hides it. */
function lookup(layers: readonly RootedTree[], path: string): FileTimes | undefined {
  const parts = path.split("/");
  layer: for (const tree of layers) {
    let directory = "";
    for (const [index, base] of parts.entries()) {
      const status = statusOf(tree, directory, base);
      if (!status) continue layer;
      if (isWhiteout(status)) return undefined;
      if (index === parts.length - 1) return status;
      if (!isDirectory(status)) return undefined;
      directory = directory === "" ? base : `${directory}/${base}`;
      if (isOpaque(tree, directory)) return inOne(tree, directory, parts.slice(index + 1));
    }
  }
  return undefined;
}

/** The entry in a layer that hides all below it. */
function inOne(tree: RootedTree, directory: string, parts: readonly string[]): FileTimes | undefined {
  let at = directory;
  for (const [index, base] of parts.entries()) {
    const status = statusOf(tree, at, base);
    if (!status || isWhiteout(status)) return undefined;
    if (index === parts.length - 1) return status;
    at = `${at}/${base}`;
  }
  return undefined;
}

function statusOf(tree: RootedTree, directory: string, base: string): FileTimes | undefined {
  const dirfd = tree.directory(directory);
  return dirfd === undefined ? undefined : tree.lstat({ dirfd, base });
}

function isOpaque(tree: RootedTree, path: string): boolean {
  const fd = tree.openDirectory(path);
  if (fd === undefined) return false;
  try {
    return tree.xattrs(fd).get(OPAQUE_XATTR) === "y";
  } finally {
    fs.closeSync(fd);
  }
}

function namesIn(tree: RootedTree, path: string): string[] {
  const fd = tree.openDirectory(path);
  if (fd === undefined) return [];
  try {
    return tree.names(fd).sort();
  } finally {
    fs.closeSync(fd);
  }
}

function isWhiteout({ mode, rdev }: FileTimes): boolean {
  return (mode & S_IFMT) === S_IFCHR && rdev === 0;
}

function isDirectory({ mode }: FileTimes): boolean {
  return (mode & S_IFMT) === S_IFDIR;
}
