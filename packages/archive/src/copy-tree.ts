import { check, NR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, syscall } from "@longshore/syscalls";
import { closeSync, ftruncateSync, readSync, writeSync } from "./descriptors.ts";
import { runInSlices } from "./in-slices.ts";
import { type FileTimes, type Place, RootedTree } from "./rooted-tree.ts";
import { placeOf, splitPath, statusOf } from "./tree-paths.ts";

/** Share all blocks with another file, where the file system can (btrfs, xfs). */
const FICLONE = 0x40049409;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const ENXIO = -6;

/** So much is copied in one call. */
const CHUNK_BYTES = 8 << 20;

/**
 * Copy all that is in a directory, and the directory's own attributes, into another, empty one: owners, modes, times, extended
 * attributes, devices, hard links among the files, holes. Neither tree is left by a link in it; files that vanish meanwhile are not
 * copied. Other work gets its turn in between.
 */
export async function copyTree(from: string, to: string): Promise<void> {
  using source = new RootedTree(from);
  using target = new RootedTree(to);
  await runInSlices(new TreeCopy(source, target).run());
}

/** Copy one thing that is no directory, to the same path, whose directory exists. @returns false when it has vanished */
export function copyEntry(source: RootedTree, target: RootedTree, path: string): boolean {
  const { parent, base } = splitPath(path);
  for (const _ of new TreeCopy(source, target).entry(parent, base));
  return statusOf(target, path) !== undefined;
}

/** One copying; yields whenever it may be interrupted. */
class TreeCopy {
  private readonly source: RootedTree;
  private readonly target: RootedTree;
  /** Where in the target the first of several names of a file is. */
  private readonly linked = new Map<string, string>();

  constructor(source: RootedTree, target: RootedTree) {
    this.source = source;
    this.target = target;
  }

  *run(): Generator<void> {
    const root = { dirfd: this.source.rootFd, base: "." };
    const status = this.source.lstat(root);
    if (status) yield* this.directory("", root, status);
  }

  /** What is in it, then its attributes: making files changes its time, and a default ACL would be inherited. */
  private *directory(path: string, from: Place, status: FileTimes): Generator<void> {
    const fd = this.source.openDirectory(path);
    if (fd === undefined) return;
    let names: string[];
    try {
      names = this.source.names(fd);
    } finally {
      closeSync(fd);
    }
    for (const base of names) yield* this.entry(path, base);
    // Paths are resolved again: those below may have taken the place in the cache of open directories.
    const place = path === "" ? from : placeOf(this.source, path);
    const to = path === "" ? { dirfd: this.target.rootFd, base: "." } : placeOf(this.target, path);
    if (place && to) this.attributes(place, to, status);
  }

  *entry(parent: string, base: string): Generator<void> {
    const path = parent === "" ? base : `${parent}/${base}`;
    const from = placeOf(this.source, path);
    const to = placeOf(this.target, path);
    const status = from && this.source.lstat(from);
    if (!from || !to || !status) return;
    yield;
    const type = status.mode & S_IFMT;
    if (type === S_IFDIR) {
      this.target.mkdir(to, 0o700);
      yield* this.directory(path, from, status);
      return;
    }
    if (status.links > 1 && this.link(path, to, status)) return;
    if (type === S_IFREG) {
      if (!(yield* this.file(from, to))) return;
    } else {
      const target = type === S_IFLNK ? this.source.readlink(from) : "";
      if (target === undefined) return;
      if (type === S_IFLNK) this.target.symlink(target, to);
      else this.target.mknod(to, type | 0o600, status.rdev);
      this.attributes(from, to, status);
    }
    if (status.links > 1) this.linked.set(inodeOf(status), path);
  }

  private link(path: string, to: Place, status: FileTimes): boolean {
    const first = this.linked.get(inodeOf(status));
    const place = first === undefined ? undefined : placeOf(this.target, first);
    if (!place) return false;
    // Opening that directory may have closed this one.
    this.target.link(place, placeOf(this.target, path) ?? to);
    return true;
  }

  /** Content and attributes, all by descriptors: the names may lead to something else by now. */
  private *file(from: Place, to: Place): Generator<void, boolean> {
    const { source, target } = this;
    const input = source.openFile(from);
    if (input === undefined) return false;
    try {
      const output = target.create(to, 0o600);
      try {
        const status = source.statusOf(input);
        const { size } = status;
        if (size > 0 && syscall(NR.ioctl, output, FICLONE, input) !== 0) {
          yield* copyData(input, output, size);
          // A hole at the end.
          ftruncateSync(output, size);
        }
        this.setAttributes(output, status, source.xattrs(input));
      } finally {
        closeSync(output);
      }
    } finally {
      closeSync(input);
    }
    return true;
  }

  private attributes(from: Place, to: Place, status: FileTimes): void {
    const { source, target } = this;
    const type = status.mode & S_IFMT;
    const xattrs = source.withNode(from, type, (fd) => source.xattrsOfNode(fd));
    target.withNode(to, type, (fd) => this.setAttributes(fd, status, xattrs));
  }

  private setAttributes(fd: number, status: FileTimes, xattrs: ReadonlyMap<string, string>): void {
    const { target } = this;
    // Changing the owner takes set-user-id and capabilities away, so it comes first.
    target.chownOf(fd, status.uid, status.gid);
    if ((status.mode & S_IFMT) !== S_IFLNK) target.chmodOf(fd, status.mode & 0o7777);
    for (const [name, value] of xattrs) target.setXattrOf(fd, name, value);
    target.utimesOf(fd, status.atimeNs, status.mtimeNs);
  }
}

function* copyData(input: number, output: number, size: number): Generator<void> {
  for (let at = 0; at < size; ) {
    const start = syscall(NR.lseek, input, at, SEEK_DATA);
    if (start === ENXIO) return;
    const end = Math.min(check(syscall(NR.lseek, input, check(start, "lseek"), SEEK_HOLE), "lseek"), size);
    check(syscall(NR.lseek, input, start), "lseek");
    check(syscall(NR.lseek, output, start), "lseek");
    for (let left = end - start; left > 0; ) {
      const n = copyChunk(input, output, Math.min(left, CHUNK_BYTES));
      if (n === 0) return; // it has become shorter
      left -= n;
      yield;
    }
    at = Math.max(end, start + 1);
  }
}

/** In the kernel, where source and target allow it. @returns 0 at the end */
function copyChunk(input: number, output: number, length: number): number {
  const n = syscall(NR.copy_file_range, input, 0, output, 0, length);
  if (n > 0) return n;
  const buffer = Buffer.allocUnsafe(Math.min(length, 1 << 20));
  const read = readSync(input, buffer, 0, buffer.length, null);
  for (let at = 0; at < read; ) at += writeSync(output, buffer, at, read - at, null);
  return read;
}

const inodeOf = ({ device, inode }: FileTimes) => `${device} ${inode}`;
