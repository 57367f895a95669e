import { dlopen, FFIType } from "bun:ffi";
import { EngineError } from "@longshore/errors";
import { addressOf, fixedBuffer } from "./call.ts";

const { u32, u64, i32, ptr } = FFIType;

function bind() {
  return dlopen("libseccomp.so.2", {
    seccomp_init: { args: [u32], returns: u64 },
    seccomp_release: { args: [u64], returns: FFIType.void },
    seccomp_arch_add: { args: [u64, u32], returns: i32 },
    seccomp_attr_set: { args: [u64, u32, u32], returns: i32 },
    seccomp_syscall_resolve_name: { args: [ptr], returns: i32 },
    seccomp_syscall_resolve_name_arch: { args: [u32, ptr], returns: i32 },
    seccomp_rule_add_array: { args: [u64, u32, i32, u32, u64], returns: i32 },
    seccomp_export_bpf: { args: [u64, i32], returns: i32 },
    seccomp_version: { args: [], returns: u64 },
  }).symbols;
}

/** libseccomp, bound when a filter must be compiled. @throws EngineError `unavailable` when it isn't installed */
export function libseccomp(): ReturnType<typeof bind> {
  try {
    return bind();
  } catch (error) {
    throw new EngineError("unavailable", "seccomp: libseccomp.so.2 is not installed", { cause: error });
  }
}

/** One comparison of a system call's argument, as libseccomp's `struct scmp_arg_cmp`. */
export interface ArgumentComparison {
  index: number;
  /** SCMP_CMP_*: 1 ≠, 2 <, 3 ≤, 4 =, 5 ≥, 6 >, 7 masked =. */
  operator: number;
  a: bigint;
  b: bigint;
}

/** The comparisons in C's layout, 24 bytes each. */
export function packComparisons(comparisons: readonly ArgumentComparison[]): {
  bytes: Buffer;
  address: number;
} {
  const bytes = fixedBuffer(Math.max(1, comparisons.length) * 24);
  for (const [at, { index, operator, a, b }] of comparisons.entries()) {
    bytes.writeUInt32LE(index, 24 * at);
    bytes.writeUInt32LE(operator, 24 * at + 4);
    bytes.writeBigUInt64LE(a, 24 * at + 8);
    bytes.writeBigUInt64LE(b, 24 * at + 16);
  }
  return { bytes, address: addressOf(bytes) };
}
