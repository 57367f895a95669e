import { isErrno } from "@longshore/errors";
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } from "@longshore/syscalls";
import { closeSync, read as readFd } from "./descriptors.ts";
import type { RootedTree } from "./rooted-tree.ts";
import type { EntryType, TarEntry } from "./tar-header.ts";
import { contentPadding, END_BLOCKS, headerBlocks } from "./tar-writer.ts";
import { placeOf } from "./tree-paths.ts";

const PIECE_BYTES = 1 << 20;
/** Longer than the kernel's `fs.lease-break-time` of 45 s. */
const LEASE_TIMEOUT_MS = 60_000;
const LEASE_POLL_MS = 50;
const NO_XATTRS: ReadonlyMap<string, string> = new Map();

const TYPES = new Map<number, EntryType>([
  [S_IFREG, "file"],
  [S_IFDIR, "directory"],
  [S_IFLNK, "symlink"],
  [S_IFCHR, "character"],
  [S_IFBLK, "block"],
  [S_IFIFO, "fifo"],
]);

export interface PackOptions {
  /**
   * Whether nothing of what is mounted at a directory is packed: asked for each one where something is, and the first.
   * @param mount the directory's path in the tree, and a descriptor of it
   */
  leaveOut?: (mount: { path: string; fd: number }) => boolean;
}

/**
 * A file, or a directory with all that is in it, as a tar.
 *
 * @param path where it is in the tree, without links on the way; empty for the root
 * @param name what it is called in the tar: `.` for what begins so, and empty for what begins with a slash
 */
export async function* packTree(
  tree: RootedTree,
  path: string,
  name: string,
  { leaveOut = () => false }: PackOptions = {},
): AsyncGenerator<Buffer> {
  yield* packEntry(tree, { path, name, above: undefined }, { names: new Map(), leaveOut });
  yield END_BLOCKS;
}

async function* packEntry(
  tree: RootedTree,
  { path, name, above }: { path: string; name: string; above: number | undefined },
  packing: Required<PackOptions> & { names: Map<string, string> },
): AsyncGenerator<Buffer> {
  const { names, leaveOut } = packing;
  const place = placeOf(tree, path);
  const status = place && tree.lstat(place);
  const type = status && TYPES.get(status.mode & S_IFMT);
  if (!status || !type) return; // it has gone meanwhile, or is a socket, for which a tar has no word
  const inode = `${status.device} ${status.inode}`;
  const first = type === "directory" || status.links < 2 ? undefined : names.get(inode);
  if (first === undefined && status.links > 1) names.set(inode, name);
  const target = type === "symlink" ? tree.readlink(place) : "";
  if (target === undefined) return; // something else has the name by now
  const entry: TarEntry = {
    name: type === "directory" ? `${name}/` : name,
    type: first === undefined ? type : "hardlink",
    linkName: first ?? target,
    mode: status.mode & 0o7777,
    uid: status.uid,
    gid: status.gid,
    size: 0,
    // Parts of a second would take a second header for each file.
    mtimeNs: status.mtimeNs - (status.mtimeNs % 1_000_000_000n),
    atimeNs: status.atimeNs,
    ...deviceOf(type, status.rdev),
    xattrs: NO_XATTRS,
  };
  if (entry.type === "file") {
    yield* packFile(tree, path, entry);
    return;
  }
  yield headerBlocks(entry);
  if (type !== "directory") return;
  const fd = tree.openDirectory(path);
  if (fd === undefined) return;
  let inside: string[];
  try {
    const isMount = status.device !== above;
    inside = isMount && leaveOut({ path, fd }) ? [] : tree.names(fd);
  } finally {
    closeSync(fd);
  }
  for (const base of inside.sort()) {
    const below = path === "" ? base : `${path}/${base}`;
    yield* packEntry(tree, { path: below, name: `${name}/${base}`, above: status.device }, packing);
  }
}

async function* packFile(tree: RootedTree, path: string, entry: TarEntry): AsyncGenerator<Buffer> {
  const fd = await openLeased(tree, path);
  if (fd === undefined) return;
  try {
    // Of the file that is read: the name may have got another one since.
    const { mode, uid, gid, size } = tree.statusOf(fd);
    const capability = tree.xattrs(fd).get("security.capability");
    const xattrs = capability === undefined ? NO_XATTRS : new Map([["security.capability", capability]]);
    yield headerBlocks({ ...entry, mode: mode & 0o7777, uid, gid, size, xattrs });
    for (let left = size; left > 0; ) {
      const piece = Buffer.allocUnsafe(Math.min(left, PIECE_BYTES));
      const n = await read(fd, piece);
      // One that has become shorter meanwhile is filled up, for its size has been told.
      if (n === 0) piece.fill(0);
      const bytes = n === 0 ? piece : piece.subarray(0, n);
      yield bytes;
      left -= bytes.length;
    }
    yield contentPadding(size);
  } finally {
    closeSync(fd);
  }
}

/** Open a regular file; when a process holds a lease on it, wait until the kernel ends that, without blocking the thread. */
async function openLeased(tree: RootedTree, path: string): Promise<number | undefined> {
  const deadline = performance.now() + LEASE_TIMEOUT_MS;
  for (;;) {
    const place = placeOf(tree, path);
    try {
      return place && tree.openFile(place);
    } catch (error) {
      if (!isErrno(error, "EAGAIN") || performance.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, LEASE_POLL_MS));
  }
}

function read(fd: number, buffer: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    readFd(fd, buffer, 0, buffer.length, null, (error, n) => (error ? reject(error) : resolve(n)));
  });
}

function deviceOf(type: EntryType, rdev: number): { major: number; minor: number } {
  if (type !== "character" && type !== "block") return { major: 0, minor: 0 };
  return { major: (rdev >>> 8) & 0xfff, minor: (rdev & 0xff) | ((rdev >>> 12) & 0xfff00) };
}
