import fs from "node:fs";
import { isErrno } from "@longshore/errors";

/** fsync away from the event loop. */
export function fsync(fd: number): Promise<void> {
  return new Promise((resolve, reject) => fs.fsync(fd, (error) => (error ? reject(error) : resolve())));
}

/** Make names in a directory durable. */
export async function syncDirectory(dir: string): Promise<void> {
  const fd = fs.openSync(dir, "r");
  try {
    await fsync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Write all bytes at a position, away from the event loop. */
export async function writeAll(fd: number, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += await new Promise<number>((resolve, reject) =>
      fs.write(fd, bytes, done, bytes.length - done, position + done, (error, n) =>
        error ? reject(error) : resolve(n),
      ),
    );
  }
}

export function readTextIfPresent(file: string): string | undefined {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    if (!isErrno(error, "ENOENT", "ENOTDIR")) throw error;
    return undefined;
  }
}
