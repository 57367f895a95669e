import type { DeviceRule } from "@longshore/oci";
import {
  addressOf,
  check,
  close,
  fixedBuffer,
  NR,
  O_CLOEXEC,
  O_DIRECTORY,
  O_RDONLY,
  openFile,
  syscall,
} from "@longshore/syscalls";

// Of linux/bpf.h: the context is { u32 access_type (device type | access << 16), u32 major, u32 minor }.
const TYPES: Record<string, number> = { b: 1, c: 2 };
const ACCESS: Record<string, number> = { m: 1, r: 2, w: 4 };

/** One eBPF instruction. */
function instruction(
  code: number,
  destination: number,
  source: number,
  offset: number,
  immediate: number,
): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt8(code, 0);
  bytes.writeUInt8((source << 4) | destination, 1);
  bytes.writeInt16LE(offset, 2);
  bytes.writeInt32LE(immediate | 0, 4);
  return bytes;
}

const load = (register: number, offset: number) => instruction(0x61, register, 1, offset, 0);
const move = (register: number, immediate: number) => instruction(0xb7, register, 0, 0, immediate);
const EXIT = instruction(0x95, 0, 0, 0, 0);

/**
 * The program that decides about a device access. The last rule that fits counts, so they are looked at from the last on; what no
 * rule mentions is refused. A denial fits when it names one of the accesses asked for, a permission when it names them all.
 */
export function deviceProgram(rules: readonly DeviceRule[]): Buffer {
  const parts = [
    load(2, 0), // r2 = type, r3 = access, r4 = major, r5 = minor
    instruction(0xbf, 3, 2, 0, 0),
    instruction(0x57, 2, 0, 0, 0xffff),
    instruction(0x77, 3, 0, 0, 16),
    load(4, 4),
    load(5, 8),
  ];
  for (const rule of rules.toReversed()) {
    const { allow = false, type = "a", major = -1, minor = -1 } = rule;
    const access = rule.access || "rwm";
    const bits = [...access].reduce((sum, letter) => sum | (ACCESS[letter] ?? 0), 0);
    const all = type === "a" || type === "";
    const tests: ((toEnd: number) => Buffer[])[] = [];
    if (!all) tests.push((end) => [instruction(0x55, 2, 0, end, TYPES[type] ?? 0)]); // jne
    if (bits !== 7 && !all) {
      tests.push((end) => [
        instruction(0xbf, 6, 3, 0, 0),
        instruction(0x57, 6, 0, 0, allow ? ~bits & 7 : bits),
        instruction(allow ? 0x55 : 0x15, 6, 0, end, 0), // something else is asked for / nothing of it is
      ]);
    }
    if (!all && major >= 0) tests.push((end) => [instruction(0x55, 4, 0, end, major)]);
    if (!all && minor >= 0) tests.push((end) => [instruction(0x55, 5, 0, end, minor)]);
    const verdict = [move(0, allow ? 1 : 0), EXIT];
    let following = verdict.length;
    const block: Buffer[] = [...verdict];
    for (const test of tests.toReversed()) {
      const instructions = test(following);
      block.unshift(...instructions);
      following += instructions.length;
    }
    parts.push(...block);
    if (all) return Buffer.concat(parts);
  }
  return Buffer.concat([...parts, move(0, 0), EXIT]);
}

/** Attach the program to a cgroup of v2. Where there is one already both must allow an access. */
export function applyDeviceRules(path: string, rules: readonly DeviceRule[]): void {
  const program = fixedBuffer(deviceProgram(rules).length);
  program.set(deviceProgram(rules));
  const license = fixedBuffer(16);
  license.write("Apache-2.0\0");
  const attributes = fixedBuffer(128);
  attributes.writeUInt32LE(15, 0); // BPF_PROG_TYPE_CGROUP_DEVICE
  attributes.writeUInt32LE(program.length / 8, 4);
  attributes.writeBigUInt64LE(BigInt(addressOf(program)), 8);
  attributes.writeBigUInt64LE(BigInt(addressOf(license)), 16);
  const loaded = check(syscall(NR.bpf, 5, addressOf(attributes), 128), "bpf", "load device program");
  const group = openFile(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  attributes.fill(0);
  attributes.writeUInt32LE(group, 0);
  attributes.writeUInt32LE(loaded, 4);
  attributes.writeUInt32LE(6, 8); // BPF_CGROUP_DEVICE
  attributes.writeUInt32LE(2, 12); // BPF_F_ALLOW_MULTI
  check(syscall(NR.bpf, 8, addressOf(attributes), 20), "bpf", "attach device program");
  program.at(0);
  license.at(0);
  close(group);
  close(loaded);
}
