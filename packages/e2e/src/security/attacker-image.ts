import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { findExecutable, findStaticBusybox, type LocalImage, makeImage } from "@longshore/suite";
import { tempDir } from "@longshore/testkit";

/**
 * Make an image with busybox and perl: perl makes any system call by its number, which the programs of
 * {@link file://./attack-programs.ts} need.
 */
export function attackerImage(): LocalImage {
  const busybox = findStaticBusybox();
  const perl = findExecutable("perl");
  if (!busybox || !perl) throw new Error("this machine lacks a static busybox or perl");
  using dir = tempDir();
  const inRoot = (name: string) => path.join(dir.path, name);
  for (const name of ["bin", "etc", "proc", "sys", "dev", "root"]) fs.mkdirSync(inRoot(name));
  for (const name of ["tmp", "data"]) {
    fs.mkdirSync(inRoot(name));
    fs.chmodSync(inRoot(name), 0o1777);
  }
  fs.copyFileSync(busybox, inRoot("bin/busybox"));
  fs.chmodSync(inRoot("bin/busybox"), 0o755);
  execFileSync(busybox, ["--list"], { encoding: "utf8" })
    .split("\n")
    .filter((applet) => applet !== "" && applet !== "busybox")
    .forEach((applet) => {
      fs.symlinkSync("busybox", inRoot(`bin/${applet}`));
    });
  const libraries = execFileSync("ldd", [perl], { encoding: "utf8" }).match(/\/\S+/g) ?? [];
  for (const library of libraries) {
    fs.mkdirSync(path.dirname(inRoot(library)), { recursive: true });
    fs.copyFileSync(fs.realpathSync(library), inRoot(library));
  }
  fs.copyFileSync(fs.realpathSync(perl), inRoot("bin/perl"));
  fs.chmodSync(inRoot("bin/perl"), 0o755);
  fs.writeFileSync(inRoot("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n");
  fs.writeFileSync(inRoot("etc/group"), "root:x:0:\nuser:x:1000:\n");
  return makeImage({ layers: [dir.path], cmd: ["/bin/sh"] });
}
