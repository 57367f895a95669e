import { appendRegularFile, readRegularFile, writeRegularFile } from "@longshore/archive";
import { isErrno } from "@longshore/errors";
import type { Logger } from "@longshore/log";

/** Files in /etc of a container are read back up to this size. A larger one is the container's own work. */
const LIMIT_BYTES = 1 << 20;

/** The text of a file that is mounted in a container; empty when it is missing, undefined when it can't be read at once. */
export function readMounted(file: string): string | undefined {
  try {
    return readRegularFile(file, LIMIT_BYTES)?.toString();
  } catch (error) {
    if (isErrno(error, "ENOENT")) return "";
    if (isErrno(error, "EAGAIN")) return undefined;
    throw error;
  }
}

/**
 * Change a file that is mounted in a running container. One on which the container holds a lease stays as it is.
 * @returns whether it was changed
 */
export function changeMounted(
  file: string,
  change: { text: string } | { line: string },
  log: Logger,
): boolean {
  try {
    if ("text" in change) writeRegularFile(file, change.text, { make: false });
    else appendRegularFile(file, change.line);
    return true;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false; // the container has just been removed
    if (!isErrno(error, "EAGAIN")) throw error;
    log.warn({ file }, "a file stays as it is: a process of the container holds a lease on it");
    return false;
  }
}
