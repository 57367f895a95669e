import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { installPackages, missingPackages } from "./debian-packages.ts";
import { Refusal } from "./refusal.ts";

/**
 * See to it that the machine has a static busybox, which the first image is made of. A machine with the dynamic one keeps it: the two
 * packages exclude each other, so the static one is only unpacked, to `unpacked`, then.
 */
export function installStaticBusybox(unpacked: string, progress: (line: string) => void): void {
  if (missingPackages(["busybox-static"]).length === 0) return;
  if (missingPackages(["busybox"]).length > 0) {
    installPackages(["busybox-static"], { progress });
    return;
  }
  if (fs.existsSync(unpacked)) return;
  progress("apt-get download busybox-static");
  const part = `${unpacked}.part`;
  fs.rmSync(part, { recursive: true, force: true });
  fs.mkdirSync(part, { recursive: true });
  for (const [command, ...args] of [
    ["apt-get", "-o", "APT::Sandbox::User=root", "download", "busybox-static"],
    ["sh", "-c", "dpkg-deb -x busybox-static_*.deb . && rm busybox-static_*.deb"],
  ] as const) {
    const { status, stderr } = spawnSync(command, args, { cwd: part, encoding: "utf8" });
    if (status !== 0) throw new Refusal(`can't fetch busybox-static: ${stderr.trim().split("\n").at(-1)}`);
  }
  fs.renameSync(part, unpacked);
}
