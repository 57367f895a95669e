import { dlopen, FFIType, read } from "bun:ffi";
import fs from "node:fs";
import { Errno, isErrno } from "@longshore/errors";
import { errnoCode } from "./errno-code.ts";

const CLONE_NEWNET = 0x40000000;
const MS_BIND = 4096;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;
const EINVAL = 22;
const ENOENT = 2;

const OWN_NETNS = "/proc/thread-self/ns/net";

const open = () =>
  dlopen("libc.so.6", {
    unshare: { args: [FFIType.i32], returns: FFIType.i32 },
    setns: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 },
    mount: {
      args: [FFIType.ptr, FFIType.ptr, FFIType.ptr, FFIType.u64, FFIType.ptr],
      returns: FFIType.i32,
    },
    umount2: { args: [FFIType.ptr, FFIType.i32], returns: FFIType.i32 },
    __errno_location: { args: [], returns: FFIType.ptr },
  }).symbols;

let symbols: ReturnType<typeof open> | undefined;
const libc = (): ReturnType<typeof open> => {
  symbols ??= open();
  return symbols;
};

function failed(syscall: string, detail = ""): Errno {
  const location = libc().__errno_location();
  if (location === null) throw new Error("__errno_location returned null");
  const errno = read.i32(location, 0);
  return new Errno(errnoCode(errno), errno, syscall, detail);
}

const cString = (text: string): Uint8Array => Buffer.from(`${text}\0`);

let home: number | undefined;

/**
 * Run `work` with this thread in another network namespace, or in a new one, and come back. `work` must be synchronous
 * and start no thread: a thread would stay there.
 */
function bracket<T>(enter: () => void, work: () => T): T {
  home ??= fs.openSync(OWN_NETNS, "r");
  enter();
  try {
    return work();
  } finally {
    // Everything later in this process would happen in somebody else's network.
    if (libc().setns(home, CLONE_NEWNET) !== 0) process.abort();
  }
}

/** Run synchronous `work` in the network namespace behind an open `ns/net` file. */
export function inNetns<T>(netns: number, work: () => T): T {
  return bracket(() => {
    if (libc().setns(netns, CLONE_NEWNET) !== 0) throw failed("setns(CLONE_NEWNET)");
  }, work);
}

/**
 * Make a network namespace and run synchronous `prepare` in it. It lives as long as the file descriptor given to
 * `prepare`, which the caller closes, or whatever else comes to refer to it.
 */
export function createNetns<T>(prepare: (netns: number) => T): T {
  return bracket(
    () => {
      if (libc().unshare(CLONE_NEWNET) !== 0) throw failed("unshare(CLONE_NEWNET)");
    },
    () => prepare(fs.openSync(OWN_NETNS, "r")),
  );
}

/** Keep a network namespace at a path, a new file of mode 0444, beyond its processes and descriptors. */
export function pinNetns(netns: number, path: string): void {
  fs.closeSync(fs.openSync(path, "wx", 0o444));
  if (libc().mount(cString(`/proc/self/fd/${netns}`), cString(path), cString("none"), MS_BIND, null) === 0)
    return;
  const error = failed("mount(MS_BIND)", path);
  fs.unlinkSync(path);
  throw error;
}

/** Undo `pinNetns`, also half of it. What is not there is no error. */
export function unpinNetns(path: string): void {
  // Once for each time it was mounted there.
  while (libc().umount2(cString(path), MNT_DETACH | UMOUNT_NOFOLLOW) === 0);
  const error = failed("umount2", path);
  if (error.errno !== EINVAL && error.errno !== ENOENT) throw error;
  try {
    fs.unlinkSync(path);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}
