import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { type LocalImage, makeImage } from "@longshore/suite";

const LAYERS = 6;
const LAYER_KB = 52_000;
const SMALL_FILES = 50_000;
const FILES_PER_DIRECTORY = 500;
/** Of a package, by its own words: smaller ones make too many, larger ones uneven layers. */
const PACKAGE_KB = { min: 500, max: 40_000 };

/** About 300 MB in layers of the files of this machine's own Debian packages. */
export function packagesImage(dir: string): LocalImage {
  const packages = installedPackages();
  const layers = Array.from({ length: LAYERS }, (_, index) => {
    const files: string[] = [];
    for (let kb = 0; kb < LAYER_KB; ) {
      const next = packages.shift();
      if (!next) break;
      kb += next.kb;
      files.push(...filesOf(next.name));
    }
    const layer = path.join(dir, `packages-${index}`);
    fs.mkdirSync(layer);
    const list = path.join(dir, `packages-${index}.list`);
    fs.writeFileSync(list, files.join("\0"));
    const archive = path.join(dir, `packages-${index}.tar`);
    execFileSync("tar", ["-C", "/", "--no-recursion", "--null", "-T", list, "-cf", archive]);
    execFileSync("tar", ["-C", layer, "-xpf", archive]);
    fs.rmSync(archive);
    return layer;
  });
  return makeImage({ layers, cmd: ["sh"] });
}

/** One layer of very many files of a few hundred bytes. */
export function smallFilesImage(dir: string): LocalImage {
  const layer = path.join(dir, "small-files");
  for (let n = 0; n < SMALL_FILES; n++) {
    const parent = path.join(layer, `d${Math.floor(n / FILES_PER_DIRECTORY)}`);
    if (n % FILES_PER_DIRECTORY === 0) fs.mkdirSync(parent, { recursive: true });
    fs.writeFileSync(path.join(parent, `f${n}`), `file ${n} ${"x".repeat(n % 700)}\n`);
  }
  return makeImage({ layers: [layer], cmd: ["sh"] });
}

function installedPackages(): { name: string; kb: number }[] {
  const format = "$" + "{Installed-Size} $" + "{Package}\\n";
  return execFileSync("dpkg-query", ["-W", "-f", format], { encoding: "utf8" })
    .trim()
    .split("\n")
    .map((line) => ({ kb: Number(line.split(" ")[0]), name: line.split(" ")[1] ?? "" }))
    .filter(({ kb }) => kb >= PACKAGE_KB.min && kb <= PACKAGE_KB.max)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function filesOf(name: string): string[] {
  return execFileSync("dpkg-query", ["-L", name], { encoding: "utf8" })
    .split("\n")
    .filter((file) => {
      const stat = file.startsWith("/usr/") && fs.lstatSync(file, { throwIfNoEntry: false });
      return stat && !stat.isDirectory();
    })
    .map((file) => file.slice(1));
}
