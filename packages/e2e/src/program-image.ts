import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { findExecutable, type LocalImage, makeImage } from "@longshore/suite";
import { tempDir } from "@longshore/testkit";

/**
 * An image of one program of this machine's packages, with the libraries that it is linked with.
 * Undefined when the program isn't installed.
 * @param cmd what it runs without a command of its own
 */
export function programImage(name: string, cmd: string[]): LocalImage | undefined {
  const program = findExecutable(name);
  if (!program) return undefined;
  using dir = tempDir();
  const libraries = execFileSync("ldd", [program], { encoding: "utf8" }).match(/\/\S+/g) ?? [];
  for (const file of libraries) put(dir.path, file, file);
  put(dir.path, program, `/usr/bin/${name}`);
  for (const place of ["tmp", "data", "etc"]) fs.mkdirSync(path.join(dir.path, place));
  fs.chmodSync(path.join(dir.path, "tmp"), 0o1777);
  fs.writeFileSync(path.join(dir.path, "etc/passwd"), "root:x:0:0:root:/:/bin/false\n");
  return makeImage({ layers: [dir.path], cmd, workingDir: "/data" });
}

function put(root: string, from: string, to: string): void {
  const target = path.join(root, to);
  fs.mkdirSync(path.dirname(target), { recursive: true });
  fs.copyFileSync(fs.realpathSync(from), target);
}
