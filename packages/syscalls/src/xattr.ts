import { addressOf, check, fixedBuffer, scratch, syscall } from "./call.ts";
import * as NR from "./numbers.ts";

/** Largest value of an extended attribute (XATTR_SIZE_MAX). */
const MAX_BYTES = 65536;

/** Set an extended attribute of the path itself, never of what a symlink points to. */
export function lsetxattr(path: string, name: string, value: Uint8Array, flags = 0): void {
  const fixed = fixedBuffer(Math.max(1, value.length));
  fixed.set(value);
  const arena = scratch();
  check(
    syscall(NR.lsetxattr, arena.string(path), arena.string(name), addressOf(fixed), value.length, flags),
    "lsetxattr",
    `${path} ${name}`,
  );
}

/** The value, or undefined when the file has no such attribute (ENODATA). */
export function lgetxattr(path: string, name: string): Buffer | undefined {
  const value = fixedBuffer(MAX_BYTES);
  const arena = scratch();
  const n = syscall(NR.lgetxattr, arena.string(path), arena.string(name), addressOf(value), MAX_BYTES);
  if (n === -61) return undefined;
  return value.subarray(0, check(n, "lgetxattr", `${path} ${name}`));
}

/** The names of all extended attributes; none where the file system has no such thing (EOPNOTSUPP). */
export function llistxattr(path: string): string[] {
  const names = fixedBuffer(MAX_BYTES);
  const n = syscall(NR.llistxattr, scratch().string(path), addressOf(names), MAX_BYTES);
  if (n === -95) return [];
  const text = names.toString("utf8", 0, check(n, "llistxattr", path));
  return text.split("\0").filter((name) => name !== "");
}

export function lremovexattr(path: string, name: string): void {
  const arena = scratch();
  check(syscall(NR.lremovexattr, arena.string(path), arena.string(name)), "lremovexattr", `${path} ${name}`);
}
