import { closeSync } from "./descriptors.ts";
import { runInSlices } from "./in-slices.ts";
import { isDirectory, isOpaque, isWhiteout, lookUp } from "./layer-lookup.ts";
import { RootedTree } from "./rooted-tree.ts";
import { statusOf } from "./tree-paths.ts";

export interface PathChange {
  /** Relative, a byte string (latin1). */
  path: string;
  kind: "modified" | "added" | "deleted";
}

/**
 * What an overlayfs upper directory changes of the layers below it, each directory before its content, without mounting anything.
 * A directory counts as modified when something in it was. What a new directory hides is not listed one by one. Other work
 * gets its turn in between: the container decides how much there is.
 *
 * @param lower uppermost first
 */
export async function upperChanges(upper: string, lower: readonly string[]): Promise<PathChange[]> {
  using resources = new DisposableStack();
  const above = resources.use(new RootedTree(upper));
  const below = lower.map((directory) => resources.use(new RootedTree(directory)));
  const changes: PathChange[] = [];
  await runInSlices(walk(above, below, "", changes));
  return changes;
}

function* walk(
  above: RootedTree,
  below: readonly RootedTree[],
  directory: string,
  changes: PathChange[],
): Generator<void> {
  for (const base of namesIn(above, directory)) {
    yield;
    const path = directory === "" ? base : `${directory}/${base}`;
    const status = statusOf(above, path);
    if (!status) continue; // gone meanwhile
    if (isWhiteout(status)) {
      changes.push({ path, kind: "deleted" });
      continue;
    }
    const before = lookUp(below, path)?.status;
    changes.push({ path, kind: before ? "modified" : "added" });
    if (!isDirectory(status)) continue;
    const merged = before !== undefined && isDirectory(before) && !isOpaque(above, path);
    yield* walk(above, merged ? below : [], path, changes);
  }
}

function namesIn(tree: RootedTree, path: string): string[] {
  const fd = tree.openDirectory(path);
  if (fd === undefined) return [];
  try {
    return tree.names(fd).sort();
  } finally {
    closeSync(fd);
  }
}
