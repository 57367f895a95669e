import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { findStaticBusybox, type LocalImage, makeImage, writeOciLayout } from "@longshore/suite";

/** What `boxImage` has in its root directory. */
export const BOX_FILES = ["bin", "etc", "tmp"];

/** A small image of two layers: a busybox, and changes to it, of which one is a whiteout and one a replacement. */
export function boxImage(
  dir: string,
  { format = "oci", version = "upper" }: { format?: "oci" | "docker"; version?: string } = {},
): LocalImage {
  const [lower, upper] = [path.join(dir, "layer-1"), path.join(dir, "layer-2")];
  for (const name of ["bin", "etc", "tmp", "gone"]) fs.mkdirSync(path.join(lower, name), { recursive: true });
  fs.copyFileSync(findStaticBusybox() ?? "/bin/busybox", path.join(lower, "bin/busybox"));
  fs.chmodSync(path.join(lower, "bin/busybox"), 0o755);
  for (const name of [
    "sh",
    "cat",
    "echo",
    "sleep",
    "id",
    "env",
    "ls",
    "pwd",
    "mount",
    "touch",
    "grep",
    "tty",
    "true",
  ]) {
    fs.rmSync(path.join(lower, "bin", name), { force: true });
    fs.linkSync(path.join(lower, "bin/busybox"), path.join(lower, "bin", name));
  }
  fs.writeFileSync(
    path.join(lower, "etc/passwd"),
    "root:x:0:0:root:/:/bin/sh\nuser:x:1000:1001::/tmp:/bin/sh\n",
  );
  fs.writeFileSync(path.join(lower, "etc/version"), "lower");
  fs.writeFileSync(path.join(lower, "gone/file"), "");
  fs.mkdirSync(path.join(upper, "etc"), { recursive: true });
  fs.writeFileSync(path.join(upper, "etc/version"), version);
  fs.writeFileSync(path.join(upper, ".wh.gone"), "");
  return makeImage({ layers: [lower, upper], cmd: ["/bin/sh"], env: ["PATH=/bin", "FROM=image"], format });
}

/** The image as an archive that `ctr images import --base-name NAME` makes `NAME:tag` of. */
export function writeArchive(image: LocalImage, dir: string, tag: string): string {
  const layout = path.join(dir, `layout-${tag}`);
  writeOciLayout(image, layout, tag);
  const archive = path.join(dir, `${tag}.tar`);
  execFileSync("tar", ["cf", archive, "-C", layout, "."]);
  return archive;
}
