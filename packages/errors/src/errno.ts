/** A failed system call of ours, in the shape of node's own (`code`, `errno`, `syscall`). */
export class Errno extends Error {
  override readonly name = "Errno";
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;

  constructor(code: string, errno: number, syscall: string, detail = "") {
    super(`${syscall}${detail && ` ${detail}`}: ${code}`);
    this.code = code;
    this.errno = errno;
    this.syscall = syscall;
  }
}

/** Whether a thrown value is this system error, from node:fs or from our own system calls. */
export function isErrno(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}
