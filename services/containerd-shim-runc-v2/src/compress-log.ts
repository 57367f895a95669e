import os from "node:os";
import { UsageError } from "@longshore/cli";
import { compressRotated } from "@longshore/stdio/compress";

/** Behind the container and its shim. */
const PRIORITY = 10;

/** `compress-log FILE MAX_FILES`: a process of its own, so that neither its memory nor its time is the shim's. */
export async function compressLog([file, count]: readonly string[]): Promise<number> {
  const maxFiles = Number(count);
  if (!file?.startsWith("/") || !Number.isInteger(maxFiles)) {
    throw new UsageError("compress-log needs a log's path and how many files it may have");
  }
  os.setPriority(PRIORITY);
  await compressRotated(file, maxFiles);
  return 0;
}
