import fs from "node:fs";
import path from "node:path";

const SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** The full path of a command, also when the caller's PATH lacks the sbin directories; undefined when there is none. */
export function findExecutable(name: string): string | undefined {
  for (const dir of [...(process.env.PATH ?? "").split(":"), ...SYSTEM_PATH.split(":")]) {
    const file = path.join(dir || ".", name);
    try {
      fs.accessSync(file, fs.constants.X_OK);
      if (fs.statSync(file).isFile()) return file;
    } catch {
      // not here
    }
  }
  return undefined;
}

export interface BinDirOptions {
  /** The suite's own executables. */
  from: string;
  /** The directory to make, on the same file system (hard links: an executable finds its neighbours by its own path). */
  dir: string;
  /** Executables to put in place of ours, by name. */
  replace: Record<string, string>;
}

/** A directory of the suite's executables with some of them replaced, e.g. our daemons with the real runc. */
export function mixedBinDir({ from, dir, replace }: BinDirOptions): string {
  fs.mkdirSync(dir, { recursive: true });
  for (const name of fs.readdirSync(from)) {
    if (name in replace || name.endsWith(".part")) continue;
    fs.linkSync(path.join(from, name), path.join(dir, name));
  }
  for (const [name, target] of Object.entries(replace)) fs.symlinkSync(target, path.join(dir, name));
  return dir;
}
