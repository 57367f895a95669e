import { Errno } from "@longshore/errors";
import { addressOf, check, fixedBuffer, scratch, syscall } from "./call.ts";
import {
  AT_FDCWD,
  AT_SYMLINK_FOLLOW,
  AT_SYMLINK_NOFOLLOW,
  EINTR,
  O_CLOEXEC,
  O_CREAT,
  O_TRUNC,
  O_WRONLY,
} from "./constants.ts";
import * as NR from "./numbers.ts";

// node:fs costs a millisecond of start-up; what starts once per container (runc, the shim) uses these instead.

/** open(2), by default relative to the working directory. Give O_CLOEXEC, or the descriptor leaks into what is executed. */
export function openFile(path: string, flags: number, mode = 0, dirfd = AT_FDCWD): number {
  return check(syscall(NR.openat, dirfd, scratch().string(path), flags, mode), "open", path);
}

export interface OpenHow {
  flags: number;
  mode?: number;
  /** RESOLVE_* */
  resolve?: number;
}

/** openat2(2): open with rules on how the path may be resolved, e.g. RESOLVE_IN_ROOT. */
export function openat2(dirfd: number, path: string, { flags, mode = 0, resolve = 0 }: OpenHow): number {
  const arena = scratch();
  const how = arena.room(24);
  arena.bytes.writeBigUInt64LE(BigInt(flags), how);
  arena.bytes.writeBigUInt64LE(BigInt(mode), how + 8);
  arena.bytes.writeBigUInt64LE(BigInt(resolve), how + 16);
  for (let attempt = 0; ; attempt++) {
    const fd = syscall(NR.openat2, dirfd, arena.string(path), arena.base + how, 24);
    // EAGAIN: a rename somewhere raced with the resolution; the manual says to try again.
    if (fd === -11 && attempt < 128) continue;
    return check(fd, "openat2", path);
  }
}

export function close(fd: number): void {
  check(syscall(NR.close, fd), "close", String(fd));
}

/** A descriptor that is closed at the end of its scope, once. */
export class Fd implements Disposable {
  #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  get number(): number {
    if (this.#fd < 0) throw new Error("descriptor used after it was closed");
    return this.#fd;
  }

  [Symbol.dispose](): void {
    if (this.#fd < 0) return;
    syscall(NR.close, this.#fd);
    this.#fd = -1;
  }
}

/** One read(2), restarted when a signal came; 0 at the end of the file. */
export function read(fd: number, into: Uint8Array): number {
  for (;;) {
    const n = syscall(NR.read, fd, addressOf(into), into.length);
    if (n !== -EINTR) return check(n, "read", String(fd));
  }
}

/** write(2) until all is written. */
export function writeAll(fd: number, data: Uint8Array | string): void {
  const bytes = typeof data === "string" ? Buffer.from(data) : data;
  // A small buffer could be moved by the collector between taking its address and the call.
  const fixed = fixedBuffer(bytes.length);
  fixed.set(bytes);
  const base = addressOf(fixed);
  for (let done = 0; done < fixed.length; ) {
    const n = syscall(NR.write, fd, base + done, fixed.length - done);
    if (n !== -EINTR) done += check(n, "write", String(fd));
  }
}

/** One write(2) of a part of a buffer from `fixedBuffer`; how many bytes were taken. */
export function writeSome(fd: number, bytes: Uint8Array, start: number, end: number): number {
  for (;;) {
    const n = syscall(NR.write, fd, addressOf(bytes) + start, end - start);
    if (n !== -EINTR) return check(n, "write", String(fd));
  }
}

/** A whole file, read in one to three calls. */
export function readFile(path: string, dirfd = AT_FDCWD): Buffer {
  using fd = new Fd(openFile(path, O_CLOEXEC, 0, dirfd));
  let buffer = fixedBuffer(16384);
  let length = 0;
  for (;;) {
    const n = check(
      syscall(NR.read, fd.number, addressOf(buffer) + length, buffer.length - length),
      "read",
      path,
    );
    if (n === 0) return buffer.subarray(0, length);
    length += n;
    if (length < buffer.length) continue;
    const larger = fixedBuffer(buffer.length * 4);
    larger.set(buffer);
    buffer = larger;
  }
}

export function readText(path: string): string {
  return readFile(path).toString();
}

/** A file's text, or undefined when it isn't there, or the process or cgroup (ENODEV) whose file it was. */
export function readTextIfExists(path: string): string | undefined {
  try {
    return readText(path);
  } catch (error) {
    if (error instanceof Errno && ["ENOENT", "ENOTDIR", "ESRCH", "ENODEV"].includes(error.code))
      return undefined;
    throw error;
  }
}

export interface WriteOptions {
  mode?: number;
  /** Open flags in place of create and truncate; 0 for kernel files, which exist. */
  flags?: number;
}

/** Write a file with one write(2), as the kernel's control files need; a regular file is made or cut to nothing first. */
export function writeFile(
  path: string,
  data: string | Uint8Array,
  { mode = 0o644, flags = O_CREAT | O_TRUNC }: WriteOptions = {},
): void {
  using fd = new Fd(openFile(path, flags | O_WRONLY | O_CLOEXEC, mode));
  const bytes = typeof data === "string" ? Buffer.from(data) : data;
  const fixed = fixedBuffer(Math.max(1, bytes.length));
  fixed.set(bytes);
  const base = addressOf(fixed);
  for (let done = 0; done < bytes.length; ) {
    const n = syscall(NR.write, fd.number, base + done, bytes.length - done);
    if (n !== -EINTR) done += check(n, "write", path);
  }
}

/** Write a kernel control file (cgroup, procfs): no creating, no truncating, one write. */
export function writeControl(path: string, data: string): void {
  writeFile(path, data, { flags: 0 });
}

export function mkdir(path: string, mode = 0o755): void {
  check(syscall(NR.mkdirat, AT_FDCWD, scratch().string(path), mode), "mkdir", path);
}

/** Make a directory and its parents; existing ones are kept as they are. Returns how many were made. */
export function mkdirAll(path: string, mode = 0o755): number {
  const made = syscall(NR.mkdirat, AT_FDCWD, scratch().string(path), mode);
  if (made >= 0) return 1;
  if (made === -17) return 0;
  const parent = path.slice(0, path.lastIndexOf("/"));
  if (made !== -2 || parent === "") return check(made, "mkdir", path);
  const above = mkdirAll(parent, mode);
  const again = syscall(NR.mkdirat, AT_FDCWD, scratch().string(path), mode);
  if (again === -17) return above;
  check(again, "mkdir", path);
  return above + 1;
}

export function rmdir(path: string): void {
  check(syscall(NR.unlinkat, AT_FDCWD, scratch().string(path), 0x200), "rmdir", path);
}

export function unlink(path: string): void {
  check(syscall(NR.unlinkat, AT_FDCWD, scratch().string(path), 0), "unlink", path);
}

export function rename(from: string, to: string): void {
  const arena = scratch();
  check(syscall(NR.renameat, AT_FDCWD, arena.string(from), AT_FDCWD, arena.string(to)), "rename", from);
}

/** Give a file that has no name, made with O_TMPFILE, its first. */
export function linkFd(fd: number, path: string): void {
  const arena = scratch();
  const from = arena.string(`/proc/self/fd/${fd}`);
  check(syscall(NR.linkat, AT_FDCWD, from, AT_FDCWD, arena.string(path), AT_SYMLINK_FOLLOW), "linkat", path);
}

/** mknod(2) of a device, FIFO or socket: `mode` with its S_IF* type, `device` from {@link makedev}. The umask applies. */
export function mknod(path: string, mode: number, device = 0, dirfd = AT_FDCWD): void {
  check(syscall(NR.mknodat, dirfd, scratch().string(path), mode, device), "mknod", path);
}

/** The kernel's 32-bit encoding of a device number, as mknod(2) takes it. */
export function makedev(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

export interface FileStatus {
  device: number;
  inode: number;
  /** Type and permissions, S_IF* and below. */
  mode: number;
  links: number;
  uid: number;
  gid: number;
  rdev: number;
  size: number;
}

/** The fields of a `struct stat` (x86-64, 144 bytes) at an offset. */
export function parseStat(bytes: Buffer, at: number): FileStatus {
  return {
    device: Number(bytes.readBigUInt64LE(at)),
    inode: Number(bytes.readBigUInt64LE(at + 8)),
    links: Number(bytes.readBigUInt64LE(at + 16)),
    mode: bytes.readUInt32LE(at + 24),
    uid: bytes.readUInt32LE(at + 28),
    gid: bytes.readUInt32LE(at + 32),
    rdev: Number(bytes.readBigUInt64LE(at + 40)),
    size: Number(bytes.readBigInt64LE(at + 48)),
  };
}

/** stat(2), or with AT_SYMLINK_NOFOLLOW lstat(2), or with AT_EMPTY_PATH and "" fstat(2). */
export function stat(path: string, flags = 0, dirfd = AT_FDCWD): FileStatus {
  const arena = scratch();
  const at = arena.room(144);
  check(syscall(NR.newfstatat, dirfd, arena.string(path), arena.base + at, flags), "stat", path);
  return parseStat(arena.bytes, at);
}

export function exists(path: string): boolean {
  return syscall(NR.faccessat, AT_FDCWD, scratch().string(path), 0) === 0;
}

export function readlink(path: string, dirfd = AT_FDCWD): string {
  const arena = scratch();
  const at = arena.room(4096);
  const n = check(syscall(NR.readlinkat, dirfd, arena.string(path), arena.base + at, 4096), "readlink", path);
  return arena.bytes.toString("utf8", at, at + n);
}

export interface DirectoryEntry {
  name: string;
  /** DT_*: 4 directory, 8 regular file, 10 symlink, 0 unknown. */
  type: number;
}

/** The entries of a directory without `.` and `..`, in no order. */
export function readDirectory(path: string, dirfd = AT_FDCWD): DirectoryEntry[] {
  using fd = new Fd(openFile(path, O_CLOEXEC | 0o200000, 0, dirfd));
  const buffer = fixedBuffer(32768);
  const entries: DirectoryEntry[] = [];
  for (;;) {
    const n = check(syscall(NR.getdents64, fd.number, addressOf(buffer), buffer.length), "getdents", path);
    if (n === 0) return entries;
    for (let at = 0; at < n; at += buffer.readUInt16LE(at + 16)) {
      const name = buffer.toString("utf8", at + 19, buffer.indexOf(0, at + 19));
      if (name !== "." && name !== "..") entries.push({ name, type: buffer[at + 18] ?? 0 });
    }
  }
}

/** Nanoseconds since 1970; the kernel keeps both times of a symlink itself when `nofollow`. */
export function utimensat(
  path: string,
  times: { atimeNs: bigint; mtimeNs: bigint },
  { nofollow = false, dirfd = AT_FDCWD } = {},
): void {
  const arena = scratch();
  const at = arena.room(32);
  for (const [index, ns] of [times.atimeNs, times.mtimeNs].entries()) {
    // Rounded down also before 1970: tv_nsec is never negative.
    const rest = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
    arena.bytes.writeBigInt64LE((ns - rest) / 1_000_000_000n, at + 16 * index);
    arena.bytes.writeBigInt64LE(rest, at + 16 * index + 8);
  }
  const flags = nofollow ? AT_SYMLINK_NOFOLLOW : 0;
  check(syscall(NR.utimensat, dirfd, arena.string(path), arena.base + at, flags), "utimensat", path);
}

/** Change the owner of a path itself, never of what a symlink points to. */
export function lchown(path: string, uid: number, gid: number, dirfd = AT_FDCWD): void {
  check(syscall(NR.fchownat, dirfd, scratch().string(path), uid, gid, AT_SYMLINK_NOFOLLOW), "lchown", path);
}

/** chmod(2), following symlinks. The umask doesn't apply. */
export function chmod(path: string, mode: number, dirfd = AT_FDCWD): void {
  check(syscall(NR.fchmodat, dirfd, scratch().string(path), mode), "chmod", path);
}

/** Change the owner of what a descriptor is open on. */
export function fchown(fd: number, uid: number, gid: number): void {
  check(syscall(NR.fchown, fd, uid, gid), "fchown", String(fd));
}

export function fcntl(fd: number, command: number, argument = 0): number {
  return check(syscall(NR.fcntl, fd, command, argument), "fcntl", String(fd));
}

/** ioctl(2) with a number or an address as its argument. */
export function ioctl(fd: number, request: number, argument = 0): number {
  return check(syscall(NR.ioctl, fd, request, argument), "ioctl", String(fd));
}

/** Whether a descriptor is open. */
export function isOpen(fd: number): boolean {
  return syscall(NR.fcntl, fd, 1) >= 0;
}

export function dup3(from: number, to: number, flags = 0): void {
  check(syscall(NR.dup3, from, to, flags), "dup3", `${from} to ${to}`);
}

/** pipe2(2): [read end, write end], close-on-exec unless told otherwise. */
export function pipe(flags = O_CLOEXEC): [read: number, write: number] {
  const arena = scratch();
  const at = arena.room(8);
  check(syscall(NR.pipe2, arena.base + at, flags), "pipe2");
  return [arena.bytes.readInt32LE(at), arena.bytes.readInt32LE(at + 4)];
}

/** An anonymous file in memory; `flags`: 1 close-on-exec, 2 sealing allowed. */
export function memfdCreate(name: string, flags = 3): number {
  return check(syscall(NR.memfd_create, scratch().string(name), flags), "memfd_create", name);
}

export interface FileSystemStatus {
  /** The magic number of its type: 0x9fa0 procfs, 0x63677270 cgroup2, 0x27e0eb cgroup, 0x01021994 tmpfs. */
  type: number;
  /** ST_*: 1 read-only, 2 nosuid, 4 nodev, 8 noexec, 1024 noatime, 2048 nodiratime, 4096 relatime. */
  flags: number;
}

/** statfs(2) of a path. */
export function statfs(path: string): FileSystemStatus {
  const arena = scratch();
  const at = arena.room(120);
  check(syscall(NR.statfs, arena.string(path), arena.base + at), "statfs", path);
  return parseStatfs(arena.bytes, at);
}

/** statfs(2) of an open descriptor. */
export function fstatfs(fd: number): FileSystemStatus {
  const arena = scratch();
  const at = arena.room(120);
  check(syscall(NR.fstatfs, fd, arena.base + at), "fstatfs", String(fd));
  return parseStatfs(arena.bytes, at);
}

function parseStatfs(bytes: Buffer, at: number): FileSystemStatus {
  return { type: Number(bytes.readBigInt64LE(at)), flags: Number(bytes.readBigInt64LE(at + 80)) };
}
