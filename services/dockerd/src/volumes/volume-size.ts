import { treeUsage } from "@longshore/archive";
import { isErrno } from "@longshore/errors";

/** Bytes of all files below a directory, each counted once however many names it has. */
export async function directorySize(directory: string): Promise<number> {
  try {
    return (await treeUsage(directory)).contentBytes;
  } catch (error) {
    if (!isErrno(error, "ENOENT", "ENOTDIR")) throw error;
    return 0;
  }
}
