import fs from "node:fs";
import { Errno, isErrno } from "@longshore/errors";
import {
  Arena,
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_REMOVEDIR,
  AT_SYMLINK_NOFOLLOW,
  addressOf,
  check,
  type FileStatus,
  fixedBuffer,
  NR,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_WRONLY,
  parseStat,
  RESOLVE_IN_ROOT,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  syscall,
} from "@longshore/syscalls";
import { readLimited } from "./regular-file.ts";

const EPERM = -1;
const ENOENT = -2;
const EAGAIN = -11;
const ENOTDIR = -20;
const EINVAL = -22;
const ENOSYS = -38;
const ELOOP = -40;
const EOPNOTSUPP = -95;

/** As many directories are kept open; the entries of a tar mostly share a few. */
const MAX_OPEN_DIRECTORIES = 128;

/** As the kernel: so many links are followed in one path. */
const MAX_SYMLINKS = 40;

const XATTR_BYTES = 65536;

/** Memory for the arguments of one call, shared by all trees: each method is synchronous and keeps nothing in it. */
let sharedArena: Arena | undefined;
let sharedXattrBuffer: Buffer | undefined;

function xattrBuffer(): Buffer {
  sharedXattrBuffer ??= fixedBuffer(XATTR_BYTES);
  return sharedXattrBuffer;
}

/** Whether fchmodat2 is missing: before Linux 6.6, or refused by a seccomp filter that does not list it. */
let lacksFchmodat2 = false;

/** lstat's answer with the times of the last reading and the last change of content, in nanoseconds. */
export interface FileTimes extends FileStatus {
  atimeNs: bigint;
  mtimeNs: bigint;
}

/** The part of lstat's answer that says what a file takes. */
export interface FileUsage {
  device: number;
  inode: number;
  mode: number;
  /** Bytes of content. */
  size: number;
  diskBytes: number;
}

/** A place in a tree: an open directory and one name in it, which is never followed. */
export interface Place {
  readonly dirfd: number;
  readonly base: string;
}

/** Who files belong to, as whoever uses the tree sees it: ids of a user namespace that the files' own are translated to and from. */
export interface Owners {
  /** The kernel's id as the user's. */
  inside(kind: "uid" | "gid", id: number): number;
  /** The user's as the kernel's. @throws EngineError for one that has none */
  outside(kind: "uid" | "gid", id: number): number;
}

/**
 * A directory tree that nothing done through it leaves, also while a hostile process writes in it. The kernel resolves each
 * path with the directory as its root (openat2, RESOLVE_IN_ROOT), and operations work on one name in a directory opened that
 * way without following it, or on a descriptor whose file type was checked ({@link RootedTree.withNode}). No call blocks on a
 * FIFO, a device or a lease. Paths are byte strings (latin1), relative, without `.`, `..` and empty components, as
 * `cleanPath` makes them. Everything is synchronous.
 */
export class RootedTree implements Disposable {
  private readonly arena: Arena;
  private readonly directories = new Map<string, number>();
  readonly rootFd: number;
  private readonly owners: Owners | undefined;

  /**
   * @param root an existing directory, itself trusted
   * @param owners undefined: ids are the kernel's
   */
  constructor(root: string, owners?: Owners) {
    sharedArena ??= new Arena(65536);
    this.arena = sharedArena;
    this.owners = owners;
    this.rootFd = fs.openSync(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  }

  [Symbol.dispose](): void {
    this.forgetDirectories();
    fs.closeSync(this.rootFd);
  }

  /** Open a directory; a link in the path, also the last one, is followed within the root. @returns undefined when it is not there */
  directory(path: string): number | undefined {
    if (path === "") return this.rootFd;
    const known = this.directories.get(path);
    if (known !== undefined) {
      // Back to the end: the first one is the one to be closed next.
      this.directories.delete(path);
      this.directories.set(path, known);
      return known;
    }
    const fd = this.openInRoot(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd === ENOENT) return undefined;
    check(fd, "openat2", path);
    if (this.directories.size >= MAX_OPEN_DIRECTORIES) this.forgetOldest();
    this.directories.set(path, fd);
    return fd;
  }

  private forgetOldest(): void {
    for (const [path, fd] of this.directories) {
      syscall(NR.close, fd);
      this.directories.delete(path);
      return;
    }
  }

  /** After a removal, paths may lead elsewhere. */
  forgetDirectories(): void {
    for (const fd of this.directories.values()) syscall(NR.close, fd);
    this.directories.clear();
  }

  /** A directory to read or sync, to be closed by the caller; undefined when there is none. */
  openDirectory(path: string): number | undefined {
    const fd =
      path === ""
        ? this.open({ dirfd: this.rootFd, base: "." }, O_RDONLY | O_DIRECTORY, 0)
        : this.openInRoot(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd === ENOENT || fd === ENOTDIR ? undefined : check(fd, "openat2", path);
  }

  /** Open whatever is at a path, only to point at it; the caller closes it. A link is followed within the root. @returns undefined when it is not there */
  find(path: string): number | undefined {
    const fd = this.openInRoot(path === "" ? "." : path, O_PATH | O_CLOEXEC);
    return fd === ENOENT ? undefined : check(fd, "openat2", path);
  }

  /** lstat; undefined when it is not there. */
  lstat({ dirfd, base }: Place): FileTimes | undefined {
    const { arena } = this;
    arena.reset();
    const at = arena.room(144);
    const result = syscall(NR.newfstatat, dirfd, this.bytes(base), arena.base + at, AT_SYMLINK_NOFOLLOW);
    if (result === ENOENT) return undefined;
    check(result, "lstat", base);
    return this.statusAt(at);
  }

  /** What a file takes; undefined when it is not there. Quicker than {@link lstat}. */
  usageOf({ dirfd, base }: Place): FileUsage | undefined {
    const { arena } = this;
    arena.reset();
    const at = arena.room(144);
    const result = syscall(NR.newfstatat, dirfd, this.bytes(base), arena.base + at, AT_SYMLINK_NOFOLLOW);
    if (result === ENOENT) return undefined;
    check(result, "lstat", base);
    const { bytes } = arena;
    const word = (offset: number) =>
      bytes.readUInt32LE(at + offset) + bytes.readUInt32LE(at + offset + 4) * 2 ** 32;
    const mode = bytes.readUInt32LE(at + 24);
    return { device: word(0), inode: word(8), mode, size: word(48), diskBytes: word(64) * 512 };
  }

  /** The status of an open descriptor, also of one opened with O_PATH, with the ids that {@link lstat} shows. */
  statusOf(fd: number): FileTimes {
    return this.statusAt(this.fstatInto(fd));
  }

  /** The status of an open descriptor with the kernel's ids. */
  fstat(fd: number): FileStatus {
    return parseStat(this.arena.bytes, this.fstatInto(fd));
  }

  /** @returns the offset in the arena */
  private fstatInto(fd: number): number {
    const { arena } = this;
    arena.reset();
    const at = arena.room(144);
    check(syscall(NR.newfstatat, fd, this.bytes(""), arena.base + at, AT_EMPTY_PATH), "fstat");
    return at;
  }

  private statusAt(at: number): FileTimes {
    const { bytes } = this.arena;
    const time = (offset: number) =>
      bytes.readBigInt64LE(at + offset) * 1_000_000_000n + bytes.readBigInt64LE(at + offset + 8);
    const status = parseStat(bytes, at);
    const { owners } = this;
    const ids = owners && { uid: owners.inside("uid", status.uid), gid: owners.inside("gid", status.gid) };
    return { ...status, ...ids, atimeNs: time(72), mtimeNs: time(88) };
  }

  /** Where a link leads to; undefined when it is not there, or no link any more. */
  readlink({ dirfd, base }: Place): string | undefined {
    const { arena } = this;
    arena.reset();
    const at = arena.room(4096);
    const n = syscall(NR.readlinkat, dirfd, this.bytes(base), arena.base + at, 4096);
    if (n === ENOENT || n === EINVAL) return undefined;
    return arena.bytes.toString("latin1", at, at + check(n, "readlink", base));
  }

  /**
   * Open a regular file for reading; the caller closes it. It never blocks: a FIFO or a device is not opened at all.
   *
   * @param waitForLease block until a process with a write lease on the file gives it up, at most 45 s by default
   * @returns undefined when there is no such file, or something else has its name
   * @throws Errno `EAGAIN` when a process holds a write lease on it
   */
  openFile(place: Place, { waitForLease = false } = {}): number | undefined {
    // Looked at before it is opened: opening a device, which it could have become, can do things.
    const path = this.open(place, O_PATH | O_NOFOLLOW, 0);
    if (path < 0) return undefined;
    try {
      if ((this.fstat(path).mode & S_IFMT) !== S_IFREG) return undefined;
      const flags = O_RDONLY | O_CLOEXEC | (waitForLease ? 0 : O_NONBLOCK);
      const fd = this.call(NR.openat, AT_FDCWD, `/proc/self/fd/${path}`, flags);
      if (fd === EAGAIN) throw new Errno("EAGAIN", 11, "open", place.base);
      return fd < 0 ? undefined : fd;
    } finally {
      syscall(NR.close, path);
    }
  }

  /**
   * The content of a regular file.
   * @returns undefined when there is no such file, it is larger than the limit, or something else has its name
   */
  readFile(place: Place, limitBytes: number): Buffer | undefined {
    const fd = this.openFile(place);
    if (fd === undefined) return undefined;
    try {
      return readLimited(fd, limitBytes);
    } finally {
      syscall(NR.close, fd);
    }
  }

  /**
   * Work with one file, whatever happens to its name meanwhile: the descriptor (O_PATH) stays on the file whose type was
   * checked, and `chownOf`, `chmodOf`, `utimesOf`, `setXattrOf` and `xattrsOfNode` act on that file only.
   *
   * @param type S_IF*
   * @throws Errno `ESTALE` when something of another type has the name by now
   */
  withNode<T>(place: Place, type: number, work: (fd: number) => T): T {
    const only = type === S_IFDIR ? O_DIRECTORY : 0;
    const fd = this.open(place, O_PATH | O_NOFOLLOW | only, 0);
    if (fd === ENOTDIR || fd === ELOOP) throw new Errno("ESTALE", 116, "open", place.base);
    check(fd, "open", place.base);
    try {
      if (!only && (this.fstat(fd).mode & S_IFMT) !== type)
        throw new Errno("ESTALE", 116, "open", place.base);
      return work(fd);
    } finally {
      syscall(NR.close, fd);
    }
  }

  /** The extended attributes of a regular file; none for anything else. */
  xattrsOf(place: Place): Map<string, string> {
    try {
      return this.withNode(place, S_IFREG, (fd) => this.xattrsOfNode(fd));
    } catch (error) {
      if (!isErrno(error, "ESTALE", "ENOENT")) throw error;
      return new Map();
    }
  }

  /** Make a new file, or fail with EEXIST. The caller closes it. */
  create(place: Place, mode: number): number {
    return check(this.open(place, O_WRONLY | O_CREAT | O_EXCL, mode), "open", place.base);
  }

  /** It belongs to the user's root. */
  mkdir({ dirfd, base }: Place, mode: number): void {
    check(this.call(NR.mkdirat, dirfd, base, mode), "mkdir", base);
    if (this.owners) this.withNode({ dirfd, base }, S_IFDIR, (fd) => this.chownOf(fd, 0, 0));
  }

  mknod({ dirfd, base }: Place, mode: number, device: number): void {
    check(this.call(NR.mknodat, dirfd, base, mode, device), "mknod", base);
  }

  symlink(target: string, { dirfd, base }: Place): void {
    this.arena.reset();
    const to = this.bytes(target);
    check(syscall(NR.symlinkat, to, dirfd, this.bytes(base)), "symlink", base);
  }

  /** Hard link; a symlink is linked itself, not what it points to. */
  link(from: Place, to: Place): void {
    this.arena.reset();
    const source = this.bytes(from.base);
    check(syscall(NR.linkat, from.dirfd, source, to.dirfd, this.bytes(to.base), 0), "link", to.base);
  }

  /** Change the owner of the name itself, never of what a link leads to. */
  chown({ dirfd, base }: Place, uid: number, gid: number): void {
    const ids = this.outside(uid, gid);
    check(this.call(NR.fchownat, dirfd, base, ids.uid, ids.gid, AT_SYMLINK_NOFOLLOW), "lchown", base);
  }

  /** Change the owner of an open file, also of one opened with O_PATH. */
  chownOf(fd: number, uid: number, gid: number): void {
    const ids = this.outside(uid, gid);
    check(this.call(NR.fchownat, fd, "", ids.uid, ids.gid, AT_EMPTY_PATH), "fchownat");
  }

  /** Change the mode of an open file that is no link, also of one opened with O_PATH. */
  chmodOf(fd: number, mode: number): void {
    if (!lacksFchmodat2) {
      const result = this.call(NR.fchmodat2, fd, "", mode, AT_EMPTY_PATH);
      if (result !== ENOSYS && result !== EPERM) {
        check(result, "fchmodat2");
        return;
      }
      lacksFchmodat2 = result === ENOSYS;
    }
    // fchmod refuses O_PATH; the link in /proc leads to the open file itself.
    check(this.call(NR.fchmodat, AT_FDCWD, `/proc/self/fd/${fd}`, mode), "chmod");
  }

  utimes({ dirfd, base }: Place, atimeNs: bigint, mtimeNs: bigint): void {
    this.arena.reset();
    const times = this.times(atimeNs, mtimeNs);
    check(syscall(NR.utimensat, dirfd, this.bytes(base), times, AT_SYMLINK_NOFOLLOW), "utimensat", base);
  }

  /** Set the times of an open file, also of one opened with O_PATH. */
  utimesOf(fd: number, atimeNs: bigint, mtimeNs: bigint): void {
    this.arena.reset();
    const times = this.times(atimeNs, mtimeNs);
    check(syscall(NR.utimensat, fd, this.bytes(""), times, AT_EMPTY_PATH), "utimensat");
  }

  /** Times of an open file, not one of O_PATH. */
  futimes(fd: number, atimeNs: bigint, mtimeNs: bigint): void {
    this.arena.reset();
    check(syscall(NR.utimensat, fd, 0, this.times(atimeNs, mtimeNs), 0), "futimens");
  }

  fchown(fd: number, uid: number, gid: number): void {
    const ids = this.outside(uid, gid);
    check(syscall(NR.fchown, fd, ids.uid, ids.gid), "fchown");
  }

  fchmod(fd: number, mode: number): void {
    check(syscall(NR.fchmod, fd, mode), "fchmod");
  }

  /** Set an extended attribute of the name itself. @param value bytes */
  setXattr({ dirfd, base }: Place, name: string, value: string): void {
    this.arena.reset();
    const path = this.bytes(`/proc/self/fd/${dirfd}/${base}`);
    this.writeXattr(NR.lsetxattr, path, name, value);
  }

  /** Set an extended attribute of an open directory or file, also of one opened with O_PATH. */
  setXattrOf(fd: number, name: string, value: string): void {
    this.arena.reset();
    // fsetxattr refuses O_PATH; the link in /proc leads to the open file itself.
    const path = this.bytes(`/proc/self/fd/${fd}`);
    this.writeXattr(NR.setxattr, path, name, value);
  }

  /** The extended attributes of an open file, not one of O_PATH. */
  xattrs(fd: number): Map<string, string> {
    const buffer = xattrBuffer();
    const length = syscall(NR.flistxattr, fd, addressOf(buffer), buffer.length);
    if (length === EOPNOTSUPP) return new Map();
    const names = buffer
      .toString("latin1", 0, check(length, "flistxattr"))
      .split("\0")
      .filter((name) => name !== "");
    return new Map(
      names.map((name) => {
        this.arena.reset();
        const n = syscall(NR.fgetxattr, fd, this.bytes(name), addressOf(buffer), buffer.length);
        return [name, buffer.toString("latin1", 0, check(n, "fgetxattr", name))];
      }),
    );
  }

  /** The extended attributes of an open file, also of one opened with O_PATH. */
  xattrsOfNode(fd: number): Map<string, string> {
    const buffer = xattrBuffer();
    this.arena.reset();
    const path = this.bytes(`/proc/self/fd/${fd}`);
    const length = syscall(NR.listxattr, path, addressOf(buffer), buffer.length);
    if (length === EOPNOTSUPP || length === 0) return new Map();
    const names = buffer.toString("latin1", 0, check(length, "listxattr")).split("\0").slice(0, -1);
    return new Map(
      names.map((name) => {
        const n = syscall(NR.getxattr, path, this.bytes(name), addressOf(buffer), buffer.length);
        return [name, buffer.toString("latin1", 0, check(n, "getxattr", name))];
      }),
    );
  }

  /**
   * Remove whatever has the name, with all that is in it. Descriptors got from `directory` before are closed then: other paths may
   * have led through what is gone.
   */
  remove(place: Place): void {
    this.removeTree(place);
    this.forgetDirectories();
  }

  private removeTree(place: Place): void {
    const status = this.lstat(place);
    if (!status) return;
    if ((status.mode & S_IFMT) !== S_IFDIR) {
      check(this.call(NR.unlinkat, place.dirfd, place.base, 0), "unlink", place.base);
      return;
    }
    const fd = check(this.open(place, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0), "open", place.base);
    try {
      for (const base of this.names(fd)) this.removeTree({ dirfd: fd, base });
    } finally {
      syscall(NR.close, fd);
    }
    check(this.call(NR.unlinkat, place.dirfd, place.base, AT_REMOVEDIR), "rmdir", place.base);
  }

  /** The names in an open directory. */
  names(fd: number): string[] {
    const buffer = fixedBuffer(32768);
    const names: string[] = [];
    for (;;) {
      const n = check(syscall(NR.getdents64, fd, addressOf(buffer), buffer.length), "getdents64");
      if (n === 0) return names;
      for (let at = 0; at < n; at += buffer.readUInt16LE(at + 16)) {
        const name = buffer.toString("latin1", at + 19, buffer.indexOf(0, at + 19));
        if (name !== "." && name !== "..") names.push(name);
      }
    }
  }

  /**
   * Where a path leads when its links are followed within the root, as far as it exists. The kernel does this in `directory`; here it is
   * done by hand for directories that are still to be made.
   *
   * @param within refuse links that lead above the root, also absolute ones, in place of taking them to begin at the root
   * @returns components of a path without links
   * @throws Errno `EXDEV` for such a link
   */
  resolve(path: string, { within = false } = {}): string[] {
    const done: string[] = [];
    const left = path.split("/").filter((part) => part !== "");
    let links = 0;
    while (left.length > 0) {
      const part = left.shift();
      if (part === undefined || part === ".") continue;
      if (part === "..") {
        if (done.pop() === undefined && within) throw leavesTree(path);
        continue;
      }
      const dirfd = this.directory(done.join("/"));
      const status = dirfd === undefined ? undefined : this.lstat({ dirfd, base: part });
      if (dirfd === undefined || !status || (status.mode & S_IFMT) !== S_IFLNK) {
        done.push(part);
        continue;
      }
      if (++links > MAX_SYMLINKS) throw new Errno("ELOOP", 40, "open", path);
      const target = this.readlink({ dirfd, base: part });
      if (target === undefined) {
        done.push(part);
        continue;
      }
      if (target.startsWith("/")) {
        if (within) throw leavesTree(path);
        done.length = 0;
      }
      left.unshift(...target.split("/").filter((name) => name !== ""));
    }
    return done;
  }

  private outside(uid: number, gid: number): { uid: number; gid: number } {
    const { owners } = this;
    return owners ? { uid: owners.outside("uid", uid), gid: owners.outside("gid", gid) } : { uid, gid };
  }

  private open({ dirfd, base }: Place, flags: number, mode: number): number {
    return this.call(NR.openat, dirfd, base, flags | O_CLOEXEC, mode);
  }

  private call(nr: number, dirfd: number, base: string, a = 0, b = 0, c = 0): number {
    this.arena.reset();
    return syscall(nr, dirfd, this.bytes(base), a, b, c);
  }

  private openInRoot(path: string, flags: number): number {
    const { arena } = this;
    arena.reset();
    const how = arena.room(24);
    arena.bytes.writeBigUInt64LE(BigInt(flags), how);
    arena.bytes.writeBigUInt64LE(BigInt(RESOLVE_IN_ROOT), how + 16);
    const address = this.bytes(path);
    // EAGAIN: a rename somewhere raced with the resolution; the manual says to try again.
    for (let attempt = 0; ; attempt++) {
      const fd = syscall(NR.openat2, this.rootFd, address, arena.base + how, 24);
      if (fd !== EAGAIN || attempt > 128) return fd;
    }
  }

  private writeXattr(nr: number, path: number, name: string, value: string): void {
    const key = this.bytes(name);
    if (value.length > XATTR_BYTES) throw new Errno("E2BIG", 7, "setxattr", name);
    const buffer = xattrBuffer();
    buffer.write(value, 0, "latin1");
    check(syscall(nr, path, key, addressOf(buffer), value.length, 0), "setxattr", name);
  }

  private times(atimeNs: bigint, mtimeNs: bigint): number {
    const { arena } = this;
    const at = arena.room(32);
    for (const [index, ns] of [atimeNs, mtimeNs].entries()) {
      // Rounded down also before 1970: tv_nsec is never negative.
      const rest = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
      arena.bytes.writeBigInt64LE((ns - rest) / 1_000_000_000n, at + 16 * index);
      arena.bytes.writeBigInt64LE(rest, at + 16 * index + 8);
    }
    return arena.base + at;
  }

  /** Address of a NUL-terminated copy of a byte string. */
  private bytes(text: string): number {
    if (text.includes("\0")) throw new Errno("EINVAL", 22, "path", JSON.stringify(text));
    const { arena } = this;
    const at = arena.room(text.length + 1);
    arena.bytes.write(text, at, "latin1");
    return arena.base + at;
  }
}

function leavesTree(path: string): Errno {
  return new Errno("EXDEV", 18, "open", path);
}
