import { isErrno } from "@longshore/errors";
import {
  close,
  exists,
  O_CLOEXEC,
  O_DIRECTORY,
  O_RDONLY,
  openFile,
  rename,
  tryLock,
  unlink,
} from "@longshore/syscalls";

/** A rotated log: `FILE.1` is the newest; with `.gz` once it is compressed. While both are there they say the same. */
export function rotatedFile(path: string, n: number): string {
  return `${path}.${n}`;
}

/** The ends of a rotated log's names. */
const SUFFIXES = ["", ".gz"];

/**
 * Do something with a log's rotated files while nobody else renames them.
 *
 * @returns undefined, with nothing done, when somebody does: it takes microseconds, but a log must not wait
 */
export function withNames<T>(path: string, work: () => T): T | undefined {
  const directory = openFile(path.slice(0, path.lastIndexOf("/")) || "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  try {
    return tryLock(directory) ? work() : undefined;
  } finally {
    close(directory);
  }
}

/** Give each file the next number, the current one the first, and drop the oldest. False: not now. */
export function rotateFiles(path: string, maxFiles: number): boolean {
  const done = withNames(path, () => {
    for (const suffix of SUFFIXES) removeIfThere(`${rotatedFile(path, maxFiles - 1)}${suffix}`);
    for (let n = maxFiles - 1; n > 1; n--) {
      for (const suffix of SUFFIXES) {
        renameIfThere(`${rotatedFile(path, n - 1)}${suffix}`, `${rotatedFile(path, n)}${suffix}`);
      }
    }
    renameIfThere(path, rotatedFile(path, 1));
    return true;
  });
  return done ?? false;
}

/** The newest rotated file that is not compressed. */
export function uncompressed(path: string, maxFiles: number): string | undefined {
  for (let n = 1; n < maxFiles; n++) {
    const file = rotatedFile(path, n);
    if (exists(file)) return file;
  }
  return undefined;
}

function renameIfThere(from: string, to: string): void {
  try {
    rename(from, to);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}

export function removeIfThere(path: string): void {
  try {
    unlink(path);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}
