import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } from "@longshore/syscalls";
import { closeSync, readSync } from "./descriptors.ts";
import { type FileTimes, RootedTree } from "./rooted-tree.ts";
import type { EntryType, TarEntry } from "./tar-header.ts";
import { contentPadding, END_BLOCKS, headerBlocks } from "./tar-writer.ts";

const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";
const OPAQUE_XATTR = "trusted.overlay.opaque";
const CAPABILITY_XATTR = "security.capability";
const NO_XATTRS: ReadonlyMap<string, string> = new Map();
const CHUNK_BYTES = 256 << 10;

const ENTRY_TYPES: ReadonlyMap<number, EntryType> = new Map([
  [S_IFREG, "file"],
  [S_IFDIR, "directory"],
  [S_IFLNK, "symlink"],
  [S_IFCHR, "character"],
  [S_IFBLK, "block"],
  [S_IFIFO, "fifo"],
]);

export interface DiffOptions {
  /** No entry is younger: seconds since 1970, for reproducible layers (SOURCE_DATE_EPOCH). */
  notAfterSeconds?: number;
}

/**
 * The difference between two trees as a layer: what the upper one adds or changes, with the directories that leads through, and whiteouts
 * for what it lacks. Sockets are left out. Reading goes through descriptors that stay within the trees, so that one may be in use.
 *
 * @param lower `undefined`: everything in upper is new
 * @yields a tar in pieces, each valid until the next is asked for
 * @see OCI image specification, layer.md; containerd's `pkg/archive` and `continuity/fs`, which say what counts as a change
 */
export function* diffTrees(
  lower: string | undefined,
  upper: string,
  options: DiffOptions = {},
): Generator<Buffer> {
  using above = new RootedTree(upper);
  using below = lower === undefined ? undefined : new RootedTree(lower);
  const writer = new LayerWriter(above, options);
  yield* compareDirectory(below, above, writer, "");
  yield END_BLOCKS;
}

/**
 * The layer that an overlayfs upper directory is. Only for one whose overlay was mounted without `redirect_dir` and `metacopy`.
 *
 * @yields a tar in pieces, each valid until the next is asked for
 */
export function* diffUpperDirectory(upper: string, options: DiffOptions = {}): Generator<Buffer> {
  using tree = new RootedTree(upper);
  const writer = new LayerWriter(tree, options);
  yield* writeUpper(tree, writer, "");
  yield END_BLOCKS;
}

/** Whether overlayfs left marks in an upper directory's files that a layer can't express; `diffTrees` has to be used then. */
export function hasRedirects(upper: string): boolean {
  using tree = new RootedTree(upper);
  const marked = (path: string): boolean => {
    const fd = tree.openDirectory(path);
    if (fd === undefined) return false;
    try {
      if (tree.xattrs(fd).has("trusted.overlay.redirect")) return true;
      return tree.names(fd).some((base) => {
        const mode = (tree.lstat({ dirfd: fd, base })?.mode ?? 0) & S_IFMT;
        if (mode === S_IFDIR) return marked(join(path, base));
        return mode === S_IFREG && tree.xattrsOf({ dirfd: fd, base }).has("trusted.overlay.metacopy");
      });
    } finally {
      closeSync(fd);
    }
  };
  return marked("");
}

function* writeUpper(tree: RootedTree, writer: LayerWriter, path: string): Generator<Buffer> {
  for (const base of sortedNames(tree, path)) {
    const child = join(path, base);
    const status = writer.status(child);
    if (!status) continue; // gone meanwhile
    const type = status.mode & S_IFMT;
    if (type === S_IFCHR && status.rdev === 0) {
      yield* writer.whiteout(join(path, WHITEOUT + base));
      continue;
    }
    yield* writer.add(child, status);
    if (type !== S_IFDIR) continue;
    const fd = tree.openDirectory(child);
    if (fd === undefined) continue;
    const opaque = tree.xattrs(fd).get(OPAQUE_XATTR) === "y";
    closeSync(fd);
    if (opaque) yield* writer.whiteout(join(child, OPAQUE));
    yield* writeUpper(tree, writer, child);
  }
}

function* compareDirectory(
  below: RootedTree | undefined,
  above: RootedTree,
  writer: LayerWriter,
  path: string,
): Generator<Buffer> {
  const old = below ? sortedNames(below, path) : [];
  const now = sortedNames(above, path);
  const present = new Set(now);
  const known = new Set(old);
  for (const base of [...new Set([...old, ...now])].sort(byBytes)) {
    const child = join(path, base);
    if (!present.has(base)) {
      yield* writer.whiteout(join(path, WHITEOUT + base));
      continue;
    }
    const status = writer.status(child);
    if (!status) continue; // gone meanwhile
    const isDirectory = (status.mode & S_IFMT) === S_IFDIR;
    const before = below && known.has(base) ? statusIn(below, child) : undefined;
    const wasDirectory = before !== undefined && (before.mode & S_IFMT) === S_IFDIR;
    if (!before || !below || !isSame(below, before, above, status, child)) yield* writer.add(child, status);
    if (isDirectory) yield* compareDirectory(wasDirectory ? below : undefined, above, writer, child);
  }
}

/** Whether nothing that a layer holds has changed. */
function isSame(below: RootedTree, a: FileTimes, above: RootedTree, b: FileTimes, path: string): boolean {
  if (a.device === b.device && a.inode === b.inode) return true;
  if (a.mode !== b.mode || a.uid !== b.uid || a.gid !== b.gid || a.rdev !== b.rdev) return false;
  const type = a.mode & S_IFMT;
  if (type === S_IFDIR) return true;
  if (type === S_IFLNK) return linkTarget(below, path) === linkTarget(above, path);
  if (a.size !== b.size || a.mtimeNs !== b.mtimeNs) return false;
  if (type !== S_IFREG) return true;
  if (capability(below, path) !== capability(above, path)) return false;
  // A whole second may have been set, by an archiver or by whoever wants no change to be seen.
  return a.mtimeNs % 1_000_000_000n !== 0n || hasSameContent(below, above, path);
}

function hasSameContent(below: RootedTree, above: RootedTree, path: string): boolean {
  const fds = [below, above].map((tree) => tree.openFile(placeOf(tree, path), { waitForLease: true }));
  try {
    const [a, b] = fds;
    if (a === undefined || b === undefined) return false;
    const [left, right] = [Buffer.allocUnsafeSlow(CHUNK_BYTES), Buffer.allocUnsafeSlow(CHUNK_BYTES)];
    for (;;) {
      const read = readSync(a, left, 0, left.length, null);
      const other = readSync(b, right, 0, right.length, null);
      if (read !== other || !left.subarray(0, read).equals(right.subarray(0, read))) return false;
      if (read === 0) return true;
    }
  } finally {
    for (const fd of fds) if (fd !== undefined) closeSync(fd);
  }
}

/** Writes entries of one tree, the directories above each first, and hard links as such. */
class LayerWriter {
  private readonly tree: RootedTree;
  private readonly notAfterNs: bigint | undefined;
  private readonly directories = new Set<string>([""]);
  private readonly linked = new Map<string, string>();

  constructor(tree: RootedTree, { notAfterSeconds }: DiffOptions) {
    this.tree = tree;
    if (notAfterSeconds !== undefined) this.notAfterNs = BigInt(notAfterSeconds) * 1_000_000_000n;
  }

  status(path: string): FileTimes | undefined {
    return statusIn(this.tree, path);
  }

  *add(path: string, status: FileTimes): Generator<Buffer> {
    const type = ENTRY_TYPES.get(status.mode & S_IFMT);
    if (type === undefined) return; // a socket
    yield* this.parents(path);
    if (type === "directory") {
      this.directories.add(path);
      yield headerBlocks(this.entry(`${path}/`, type, status));
      return;
    }
    const entry = this.entry(path, type, status);
    const inode = `${status.device} ${status.inode}`;
    const first = status.links > 1 ? this.linked.get(inode) : undefined;
    if (first !== undefined) {
      yield headerBlocks({ ...entry, type: "hardlink", linkName: first });
      return;
    }
    if (status.links > 1) this.linked.set(inode, path);
    if (type === "file") {
      yield* this.file(path, entry);
      return;
    }
    const target = type === "symlink" ? linkTarget(this.tree, path) : "";
    if (target === undefined) return; // something else has the name by now
    entry.linkName = target;
    yield headerBlocks(entry);
  }

  *whiteout(path: string): Generator<Buffer> {
    yield* this.parents(path);
    yield headerBlocks({ ...EMPTY_FILE, name: path });
  }

  private *parents(path: string): Generator<Buffer> {
    const slash = path.lastIndexOf("/");
    const parent = slash === -1 ? "" : path.slice(0, slash);
    if (this.directories.has(parent)) return;
    const status = this.status(parent);
    if (status) yield* this.add(parent, status);
  }

  /** Exactly as many bytes as the header says, whatever happens to the file meanwhile. */
  private *file(path: string, entry: TarEntry): Generator<Buffer> {
    const fd = this.tree.openFile(placeOf(this.tree, path), { waitForLease: true });
    if (fd === undefined) return;
    try {
      const xattrs = new Map([...this.tree.xattrs(fd)].filter(([name]) => name === CAPABILITY_XATTR));
      // Of the file that is read: the name may have got another one since.
      const { mode, uid, gid, size } = this.tree.statusOf(fd);
      yield headerBlocks({ ...entry, mode: mode & 0o7777, uid, gid, size, xattrs });
      const buffer = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, Math.max(size, 1)));
      for (let left = size; left > 0; ) {
        const n = readSync(fd, buffer, 0, Math.min(left, buffer.length), null);
        const bytes =
          n === 0 ? buffer.fill(0).subarray(0, Math.min(left, buffer.length)) : buffer.subarray(0, n);
        yield bytes;
        left -= bytes.length;
      }
      yield contentPadding(size);
    } finally {
      closeSync(fd);
    }
  }

  private entry(name: string, type: EntryType, status: FileTimes): TarEntry {
    const limit = this.notAfterNs;
    const device = type === "character" || type === "block";
    return {
      ...EMPTY_FILE,
      name,
      type,
      mode: status.mode & 0o7777,
      uid: status.uid,
      gid: status.gid,
      size: type === "file" ? status.size : 0,
      mtimeNs: limit !== undefined && status.mtimeNs > limit ? limit : status.mtimeNs,
      major: device ? (status.rdev >> 8) & 0xfff : 0,
      minor: device ? (status.rdev & 0xff) | ((status.rdev >>> 12) & 0xfff00) : 0,
    };
  }
}

const EMPTY_FILE: TarEntry = {
  name: "",
  type: "file",
  linkName: "",
  mode: 0,
  uid: 0,
  gid: 0,
  size: 0,
  mtimeNs: 0n,
  atimeNs: 0n,
  major: 0,
  minor: 0,
  xattrs: NO_XATTRS,
};

const join = (path: string, base: string) => (path === "" ? base : `${path}/${base}`);

const byBytes = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

function placeOf(tree: RootedTree, path: string): { dirfd: number; base: string } {
  const slash = path.lastIndexOf("/");
  const dirfd = tree.directory(slash === -1 ? "" : path.slice(0, slash));
  return { dirfd: dirfd ?? -1, base: path.slice(slash + 1) };
}

function statusIn(tree: RootedTree, path: string): FileTimes | undefined {
  const place = placeOf(tree, path);
  return place.dirfd === -1 ? undefined : tree.lstat(place);
}

function linkTarget(tree: RootedTree, path: string): string | undefined {
  return tree.readlink(placeOf(tree, path));
}

function capability(tree: RootedTree, path: string): string | undefined {
  return tree.xattrsOf(placeOf(tree, path)).get(CAPABILITY_XATTR);
}

function sortedNames(tree: RootedTree, path: string): string[] {
  const fd = tree.openDirectory(path);
  if (fd === undefined) return [];
  try {
    return tree.names(fd).sort(byBytes);
  } finally {
    closeSync(fd);
  }
}
