import fs from "node:fs";
import path from "node:path";
import { isErrno } from "@longshore/errors";

/** Bytes of all files below a directory, each counted once however many names it has. */
export async function directorySize(directory: string): Promise<number> {
  const seen = new Set<string>();
  const pending = [directory];
  let sum = 0;
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    for (const entry of await entriesOf(next)) {
      const file = path.join(next, entry.name);
      if (entry.isDirectory()) {
        pending.push(file);
        continue;
      }
      const stat = await ifThere(fs.promises.lstat(file));
      if (!stat) continue;
      const inode = `${stat.dev} ${stat.ino}`;
      if (stat.nlink > 1 && seen.has(inode)) continue;
      if (stat.nlink > 1) seen.add(inode);
      sum += stat.size;
    }
  }
  return sum;
}

async function entriesOf(directory: string): Promise<fs.Dirent[]> {
  return (await ifThere(fs.promises.readdir(directory, { withFileTypes: true }))) ?? [];
}

/** Containers may change what is being counted. */
async function ifThere<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
}
