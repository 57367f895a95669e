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
  prlimit,
  syscall,
} from "@longshore/syscalls";
import { ACCESS_ALL, type DevicePolicy, devicePolicy } from "./device-rules.ts";

// Of linux/bpf.h. The program's context is { u32 access_type (device type | access << 16), u32 major, u32 minor }.
const BPF_PROG_LOAD = 5;
const BPF_PROG_ATTACH = 8;
const BPF_PROG_DETACH = 9;
const BPF_PROG_GET_FD_BY_ID = 13;
const BPF_PROG_QUERY = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE = 15;
const BPF_CGROUP_DEVICE = 6;
const BPF_F_ALLOW_MULTI = 2;
const BPF_F_REPLACE = 4;

/** More programs on one cgroup than anybody attaches. */
const MOST_PROGRAMS = 64;

/** Writes instructions of 8 bytes: { u8 code, u4 destination, u4 source, s16 offset, s32 immediate }. */
class Assembler {
  readonly #bytes: Buffer;
  #length = 0;

  constructor(instructions: number) {
    this.#bytes = fixedBuffer(instructions * 8);
  }

  put(code: number, destination: number, source: number, offset: number, immediate: number): void {
    const at = this.#length;
    this.#bytes.writeUInt8(code, at);
    this.#bytes.writeUInt8((source << 4) | destination, at + 1);
    this.#bytes.writeInt16LE(offset, at + 2);
    this.#bytes.writeInt32LE(immediate | 0, at + 4);
    this.#length += 8;
  }

  /** End with a verdict. */
  verdict(allow: boolean): void {
    this.put(0xb7, 0, 0, 0, allow ? 1 : 0);
    this.put(0x95, 0, 0, 0, 0);
  }

  /** Instructions so far. */
  get length(): number {
    return this.#length / 8;
  }

  /** Make all jumps of the block since `start` that lead nowhere yet lead here. */
  land(start: number): void {
    for (let at = start; at < this.length; at++) {
      if ((this.#bytes[at * 8] ?? 0) % 8 !== 5 || this.#bytes[at * 8] === 0x95) continue;
      this.#bytes.writeInt16LE(this.length - at - 1, at * 8 + 2);
    }
  }

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }
}

/**
 * The program that decides about a device access. In a policy that allows nothing but its exceptions, one fits when it allows all that
 * is asked for; in one that allows everything but them, when it denies any of it.
 */
export function deviceProgram({ allow, exceptions }: DevicePolicy): Buffer {
  const code = new Assembler(8 + exceptions.length * 9);
  code.put(0x61, 2, 1, 0, 0); // r2 = type
  code.put(0xbf, 3, 2, 0, 0); // r3 = access
  code.put(0x57, 2, 0, 0, 0xffff);
  code.put(0x77, 3, 0, 0, 16);
  code.put(0x61, 4, 1, 4, 0); // r4 = major
  code.put(0x61, 5, 1, 8, 0); // r5 = minor
  for (const { type, major, minor, access } of exceptions) {
    const start = code.length;
    code.put(0x55, 2, 0, 0, type === "b" ? 1 : 2); // another type: to the next
    if (access !== ACCESS_ALL) {
      code.put(0xbf, 6, 3, 0, 0);
      code.put(0x57, 6, 0, 0, allow ? access : ~access & ACCESS_ALL);
      code.put(allow ? 0x15 : 0x55, 6, 0, 0, 0); // nothing of it / something else is asked for
    }
    if (major >= 0) code.put(0x55, 4, 0, 0, major);
    if (minor >= 0) code.put(0x55, 5, 0, 0, minor);
    code.verdict(!allow);
    code.land(start);
  }
  code.verdict(allow);
  return code.bytes;
}

function bpf(command: number, attributes: Buffer, about: string): number {
  return check(syscall(NR.bpf, command, addressOf(attributes), attributes.length), "bpf", about);
}

function load(program: Buffer): number {
  const license = fixedBuffer(16);
  license.write("Apache-2.0\0");
  const attributes = fixedBuffer(128);
  attributes.writeUInt32LE(BPF_PROG_TYPE_CGROUP_DEVICE, 0);
  attributes.writeUInt32LE(program.length / 8, 4);
  attributes.writeBigUInt64LE(BigInt(addressOf(program)), 8);
  attributes.writeBigUInt64LE(BigInt(addressOf(license)), 16);
  try {
    return bpf(BPF_PROG_LOAD, attributes, "load device program");
  } catch (error) {
    // Before 5.11 programs counted as locked memory.
    if (!(error instanceof Error && "code" in error && error.code === "EPERM")) throw error;
    const unlimited = (1n << 64n) - 1n;
    prlimit(0, 8, { soft: unlimited, hard: unlimited });
    return bpf(BPF_PROG_LOAD, attributes, "load device program");
  } finally {
    license.at(0);
    program.at(0);
  }
}

/** Descriptors of the device programs of a cgroup itself, not of those above it. */
function attached(group: number): number[] {
  const ids = fixedBuffer(MOST_PROGRAMS * 4);
  const attributes = fixedBuffer(64);
  attributes.writeUInt32LE(group, 0);
  attributes.writeUInt32LE(BPF_CGROUP_DEVICE, 4);
  attributes.writeBigUInt64LE(BigInt(addressOf(ids)), 16);
  attributes.writeUInt32LE(MOST_PROGRAMS, 24);
  bpf(BPF_PROG_QUERY, attributes, "query device programs");
  const programs: number[] = [];
  for (let index = 0; index < attributes.readUInt32LE(24); index++) {
    const byId = fixedBuffer(16);
    byId.writeUInt32LE(ids.readUInt32LE(index * 4), 0);
    programs.push(bpf(BPF_PROG_GET_FD_BY_ID, byId, "open device program"));
  }
  return programs;
}

function attach(command: number, group: number, program: number, flags = 0, replaced = 0): void {
  const attributes = fixedBuffer(20);
  attributes.writeUInt32LE(group, 0);
  attributes.writeUInt32LE(program, 4);
  attributes.writeUInt32LE(BPF_CGROUP_DEVICE, 8);
  attributes.writeUInt32LE(flags, 12);
  attributes.writeUInt32LE(replaced, 16);
  bpf(command, attributes, "attach device program");
}

/**
 * Let device rules count in a cgroup of v2. Where several programs are attached each must allow an access, so those that are there
 * already are replaced.
 */
export function applyDeviceRules(path: string, rules: readonly DeviceRule[]): void {
  const loaded = load(deviceProgram(devicePolicy(rules)));
  const group = openFile(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const old = attached(group);
  try {
    const [only] = old;
    if (only !== undefined && old.length === 1) {
      attach(BPF_PROG_ATTACH, group, loaded, BPF_F_ALLOW_MULTI | BPF_F_REPLACE, only);
    } else {
      attach(BPF_PROG_ATTACH, group, loaded, BPF_F_ALLOW_MULTI);
      for (const program of old) attach(BPF_PROG_DETACH, group, program);
    }
  } finally {
    for (const fd of [...old, group, loaded]) close(fd);
  }
}
