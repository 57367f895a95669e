import { Errno } from "@longshore/errors";
import { errnoText } from "@longshore/syscalls";

/** A failure in the words in which the original's callers expect it. */
export class StartError extends Error {
  override readonly name = "StartError";
}

/** A system error in Go's words: `no such file or directory`. */
export function reason(error: unknown): string {
  if (error instanceof Errno) return errnoText(error.errno);
  return error instanceof Error ? error.message : String(error);
}
