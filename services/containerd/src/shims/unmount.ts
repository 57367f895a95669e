import fs from "node:fs";
import { isErrno } from "@longshore/errors";
import { MNT_DETACH, umount2 } from "@longshore/syscalls";

const UMOUNT_NOFOLLOW = 8;

/** Unmount everything at and below a directory, the deepest first. */
export function unmountBelow(directory: string): void {
  const below = `${directory}/`;
  const targets = mountPoints().filter((point) => point === directory || point.startsWith(below));
  for (const target of targets.reverse()) {
    try {
      umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW);
    } catch (error) {
      if (!isErrno(error, "EINVAL", "ENOENT")) throw error; // gone with its parent is what we want
    }
  }
}

/** In the order they were mounted. */
function mountPoints(): string[] {
  const lines = fs.readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  return lines.map((line) => unescapeOctal(line.split(" ")[4] ?? ""));
}

/** The kernel writes space, tab, newline and backslash in octal. */
function unescapeOctal(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
