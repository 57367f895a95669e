/** A wrong command line: one line on stderr and the binary's usage exit code. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
