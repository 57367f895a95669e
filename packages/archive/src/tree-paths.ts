import type { FileTimes, Place, RootedTree } from "./rooted-tree.ts";

/**
 * A path of an archive made relative and harmless to read: `/a//b/./c/../d` → `a/b/d`; what would go above the root stays in it.
 */
export function cleanPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return parts.join("/");
}

/** The directory and the last component of a clean path. */
export function splitPath(path: string): { parent: string; base: string } {
  const slash = path.lastIndexOf("/");
  return slash === -1
    ? { parent: "", base: path }
    : { parent: path.slice(0, slash), base: path.slice(slash + 1) };
}

/** Where a path without links is in a tree; the empty one is its root. @returns undefined when its directory is not there */
export function placeOf(tree: RootedTree, path: string): Place | undefined {
  if (path === "") return { dirfd: tree.rootFd, base: "." };
  const { parent, base } = splitPath(path);
  const dirfd = tree.directory(parent);
  return dirfd === undefined ? undefined : { dirfd, base };
}

/** lstat of a path without links; undefined when it is not there. */
export function statusOf(tree: RootedTree, path: string): FileTimes | undefined {
  const place = placeOf(tree, path);
  return place && tree.lstat(place);
}
