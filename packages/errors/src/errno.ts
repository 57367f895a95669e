/** What a user should read in words: nothing of ours is broken, the disk is. */
const WORDS: Record<string, string> = {
  EDQUOT: "disk quota exceeded",
  ENOSPC: "no space left on device",
  ENOTDIR: "not a directory",
  EROFS: "read-only file system",
};

/** A failed system call of ours, in the shape of node's own (`code`, `errno`, `syscall`). */
export class Errno extends Error {
  override readonly name = "Errno";
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;

  constructor(code: string, errno: number, syscall: string, detail = "") {
    const words = WORDS[code];
    super(`${syscall}${detail && ` ${detail}`}: ${code}${words === undefined ? "" : `: ${words}`}`);
    this.code = code;
    this.errno = errno;
    this.syscall = syscall;
  }
}

/** Whether a thrown value is this system error, from node:fs or from our own system calls. */
export function isErrno(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}
