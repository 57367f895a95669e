import { isErrno } from "@longshore/errors";
import { S_IFDIR, S_IFMT } from "@longshore/syscalls";
import { closeSync } from "./descriptors.ts";
import { type FileUsage, RootedTree } from "./rooted-tree.ts";

/** So many entries are looked at before other work gets its turn. */
const BATCH = 500;

export interface TreeUsage {
  /** Space on disk, of directories too. */
  diskBytes: number;
  /** Files and directories, each counted once however many names it has; the root too. */
  inodes: number;
  /** Content of all that are no directories. */
  contentBytes: number;
}

/**
 * What a tree takes. Containers may write in it meanwhile: entries that vanish are not counted, and no link is followed.
 * Other work gets its turn in between.
 */
export async function treeUsage(root: string): Promise<TreeUsage> {
  using tree = new RootedTree(root);
  const usage = { diskBytes: 0, inodes: 0, contentBytes: 0 };
  const seen = new Set<number | string>();
  const own = tree.usageOf({ dirfd: tree.rootFd, base: "." });
  if (!own) return usage;
  const { device } = own;
  /** @returns whether it is a directory that was not seen before */
  const count = (file: FileUsage): boolean => {
    const inode = file.device === device ? file.inode : `${file.device} ${file.inode}`;
    if (seen.has(inode)) return false;
    seen.add(inode);
    usage.inodes += 1;
    usage.diskBytes += file.diskBytes;
    const isDirectory = (file.mode & S_IFMT) === S_IFDIR;
    if (!isDirectory) usage.contentBytes += file.size;
    return isDirectory;
  };
  count(own);
  const pending = [""];
  let looked = 0;
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    const fd = openDirectory(tree, path);
    if (fd === undefined) continue;
    try {
      for (const base of tree.names(fd)) {
        const file = tree.usageOf({ dirfd: fd, base });
        if (file && count(file)) pending.push(path === "" ? base : `${path}/${base}`);
        if (++looked % BATCH === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      closeSync(fd);
    }
  }
  return usage;
}

function openDirectory(tree: RootedTree, path: string): number | undefined {
  try {
    return tree.openDirectory(path);
  } catch (error) {
    // Links that were put in its place, or a path that is too long for the kernel.
    if (!isErrno(error, "ELOOP", "ENAMETOOLONG")) throw error;
    return undefined;
  }
}
