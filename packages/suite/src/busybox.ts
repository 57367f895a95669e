import fs from "node:fs";

/** Where the set-up unpacks a static busybox on a machine that has the dynamic one. */
const UNPACKED_BUSYBOX = "/var/cache/longshore/busybox-static";

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

/** The machine's static busybox. */
export function findStaticBusybox(): string | undefined {
  const roots = ["", "/usr", UNPACKED_BUSYBOX, `${UNPACKED_BUSYBOX}/usr`];
  return roots.map((root) => `${root}/bin/busybox`).find(isStatic);
}
