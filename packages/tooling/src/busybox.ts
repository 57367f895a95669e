import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { installPackages, missingPackages } from "./debian-packages.ts";
import { Refusal } from "./refusal.ts";

const UNPACKED = "/var/cache/longshore/busybox-static";
const PT_INTERP = 3;

/** Whether an ELF executable runs without any library. */
export function isStatic(file: string): boolean {
  let elf: Buffer;
  try {
    elf = fs.readFileSync(file);
  } catch {
    return false;
  }
  if (elf.length < 64 || elf.readUInt32BE(0) !== 0x7f454c46) return false;
  const start = Number(elf.readBigUInt64LE(32));
  const size = elf.readUInt16LE(54);
  const count = elf.readUInt16LE(56);
  for (let index = 0; index < count; index++) {
    if (elf.readUInt32LE(start + index * size) === PT_INTERP) return false;
  }
  return true;
}

function find(): string | undefined {
  const places = [
    "/bin/busybox",
    "/usr/bin/busybox",
    `${UNPACKED}/bin/busybox`,
    `${UNPACKED}/usr/bin/busybox`,
  ];
  return places.find(isStatic);
}

/**
 * The machine's static busybox, which the first image is made of; installed when there is none. A machine with the dynamic one keeps
 * it: the two packages exclude each other, so the static one is only unpacked then.
 */
export function staticBusybox(progress: (line: string) => void): string {
  const found = find();
  if (found) return found;
  if (missingPackages(["busybox"]).length > 0) {
    installPackages(["busybox-static"], { progress });
  } else {
    progress("apt-get download busybox-static");
    fs.mkdirSync(UNPACKED, { recursive: true });
    for (const [command, ...args] of [
      ["apt-get", "-o", "APT::Sandbox::User=root", "download", "busybox-static"],
      ["sh", "-c", "dpkg-deb -x busybox-static_*.deb . && rm busybox-static_*.deb"],
    ] as const) {
      const { status, stderr } = spawnSync(command, args, { cwd: path.resolve(UNPACKED), encoding: "utf8" });
      if (status !== 0) throw new Refusal(`can't fetch busybox-static: ${stderr.trim().split("\n").at(-1)}`);
    }
  }
  const installed = find();
  if (!installed) throw new Refusal("the package busybox-static has no static busybox");
  return installed;
}
