import fs from "node:fs";

/**
 * Make a directory of a daemon with its parents, or correct the mode of one that is there.
 *
 * An older release, another umask or a user can have made it with a wider mode. A link to a
 * directory is followed: roots of daemons are moved to other disks that way.
 *
 * @param mode of the directory itself; missing parents get it as well, existing ones are left alone
 * @throws Error with the code of mkdir(2) or chmod(2)
 */
export function ensureDirectory(path: string, mode: number): void {
  fs.mkdirSync(path, { recursive: true, mode });
  if ((fs.statSync(path).mode & 0o7777) !== mode) fs.chmodSync(path, mode);
}
