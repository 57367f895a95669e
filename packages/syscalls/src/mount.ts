import { check, scratch, syscall } from "./call.ts";
import * as NR from "./numbers.ts";

export interface MountRequest {
  /** Device, or directory to bind; most file systems of the kernel don't look at it. */
  source: string;
  target: string;
  type?: string;
  /** MS_* */
  flags?: number;
  /** Options of the file system, comma-separated; at most a page. For more use the fsopen family. */
  data?: string;
}

/** mount(2). */
export function mount({ source, target, type, flags = 0, data }: MountRequest): void {
  const arena = scratch();
  check(
    syscall(
      NR.mount,
      arena.string(source),
      arena.string(target),
      type === undefined ? 0 : arena.string(type),
      flags,
      data === undefined ? 0 : arena.string(data),
    ),
    "mount",
    `${source} on ${target}`,
  );
}

/** umount2(2); flags MNT_DETACH, MNT_FORCE, UMOUNT_NOFOLLOW. */
export function umount2(target: string, flags = 0): void {
  check(syscall(NR.umount2, scratch().string(target), flags), "umount2", target);
}

export function pivotRoot(newRoot: string, putOld: string): void {
  const arena = scratch();
  check(syscall(NR.pivot_root, arena.string(newRoot), arena.string(putOld)), "pivot_root", newRoot);
}

/** open_tree(2): with OPEN_TREE_CLONE a detached copy of a mount (with AT_RECURSIVE of all below), as a descriptor. */
export function openTree(dirfd: number, path: string, flags: number): number {
  return check(syscall(NR.open_tree, dirfd, scratch().string(path), flags), "open_tree", path);
}

/** Attach a detached mount (`from`, from {@link openTree} or {@link fsmount}) to a path or, with "", to the object that `toFd` is. */
export function moveMount(from: number, toFd: number, toPath: string): void {
  const arena = scratch();
  const flags = 0x04 | (toPath === "" ? 0x40 : 0);
  check(
    syscall(NR.move_mount, from, arena.string(""), toFd, arena.string(toPath), flags),
    "move_mount",
    toPath || String(toFd),
  );
}

/** fsopen(2): a context in which a file system is configured before it is mounted. */
export function fsopen(type: string): number {
  return check(syscall(NR.fsopen, scratch().string(type), 1), "fsopen", type);
}

/** fsconfig(2); `value` missing: a flag option. */
export function fsconfigOption(fd: number, key: string, value?: string): void {
  const arena = scratch();
  const text = value === undefined ? 0 : arena.string(value);
  check(
    syscall(NR.fsconfig, fd, value === undefined ? 0 : 1, arena.string(key), text, 0),
    "fsconfig",
    `${key}=${value ?? ""}`,
  );
}

/** Make the file system that the context describes (FSCONFIG_CMD_CREATE). */
export function fsconfigCreate(fd: number): void {
  check(syscall(NR.fsconfig, fd, 6, 0, 0, 0), "fsconfig", "create");
}

/** fsmount(2): the context's file system as a detached mount with MOUNT_ATTR_* attributes. */
export function fsmount(fd: number, attributes = 0): number {
  return check(syscall(NR.fsmount, fd, 1, attributes), "fsmount");
}

export interface MountAttributes {
  set?: number;
  clear?: number;
  /** MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE. */
  propagation?: number;
  userNamespaceFd?: number;
  recursive?: boolean;
}

/** mount_setattr(2) on a path, or with "" on the mount that the descriptor is. */
export function mountSetattr(dirfd: number, path: string, attributes: MountAttributes): void {
  const { set = 0, clear = 0, propagation = 0, userNamespaceFd = 0, recursive = false } = attributes;
  const arena = scratch();
  const at = arena.room(32);
  for (const [index, value] of [set, clear, propagation, userNamespaceFd].entries()) {
    arena.bytes.writeBigUInt64LE(BigInt(value), at + 8 * index);
  }
  const flags = (path === "" ? 0x1000 : 0) | (recursive ? 0x8000 : 0);
  check(
    syscall(NR.mount_setattr, dirfd, arena.string(path), flags, arena.base + at, 32),
    "mount_setattr",
    path || String(dirfd),
  );
}
