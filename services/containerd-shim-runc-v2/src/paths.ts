import { isErrno } from "@longshore/errors";
import { unlink } from "@longshore/syscalls";

// node:fs and node:path would cost each shim half a megabyte.

/** The directory that an absolute path is in. */
export function dirname(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

export function removeIfThere(path: string): void {
  try {
    unlink(path);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}
