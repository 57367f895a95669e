import os from "node:os";

let codes: Map<number, string> | undefined;

/** `2` → `ENOENT`; a number the system has no name for becomes `E<number>`. */
export function errnoCode(errno: number): string {
  codes ??= new Map(Object.entries(os.constants.errno).map(([code, number]) => [number, code]));
  return codes.get(errno) ?? `E${errno}`;
}
