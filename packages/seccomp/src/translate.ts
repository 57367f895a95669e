import { EngineError } from "@longshore/errors";
import type { Seccomp } from "@longshore/oci";

const ACTIONS: Record<string, number> = {
  SCMP_ACT_KILL: 0,
  SCMP_ACT_KILL_THREAD: 0,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_NOTIFY: 0x7fc00000,
  SCMP_ACT_TRACE: 0x7ff00000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: 0x7fff0000,
};

/** The kernel's value of an action; `errnoRet` counts for ERRNO and TRACE, where EPERM is the default. */
export function actionValue(action: string, errnoRet: number | undefined): number {
  const value = ACTIONS[action];
  if (value === undefined) {
    throw new EngineError("invalid_argument", `string ${action} is not a valid action for seccomp`);
  }
  const takesErrno = action === "SCMP_ACT_ERRNO" || action === "SCMP_ACT_TRACE";
  if (errnoRet !== undefined && !takesErrno) {
    throw new EngineError("invalid_argument", `seccomp: errnoRet can't be used with ${action}`);
  }
  return takesErrno ? value + ((errnoRet ?? 1) & 0xffff) : value;
}

const OPERATORS: Record<string, number> = {
  SCMP_CMP_NE: 1,
  SCMP_CMP_LT: 2,
  SCMP_CMP_LE: 3,
  SCMP_CMP_EQ: 4,
  SCMP_CMP_GE: 5,
  SCMP_CMP_GT: 6,
  SCMP_CMP_MASKED_EQ: 7,
};

export function operatorValue(op: string): number {
  const value = OPERATORS[op];
  if (value === undefined)
    throw new EngineError("invalid_argument", `string ${op} is not a valid operator for seccomp`);
  return value;
}

/** Audit numbers of the architectures; those of other processors are known and without effect here, as libseccomp would have it. */
export const ARCHITECTURES: Readonly<Record<string, number>> = {
  SCMP_ARCH_X86: 0x40000003,
  SCMP_ARCH_X86_64: 0xc000003e,
  SCMP_ARCH_X32: 0x4000003e,
  SCMP_ARCH_ARM: 0x40000028,
  SCMP_ARCH_AARCH64: 0xc00000b7,
  SCMP_ARCH_MIPS: 0x00000008,
  SCMP_ARCH_MIPS64: 0x80000008,
  SCMP_ARCH_MIPS64N32: 0xa0000008,
  SCMP_ARCH_MIPSEL: 0x40000008,
  SCMP_ARCH_MIPSEL64: 0xc0000008,
  SCMP_ARCH_MIPSEL64N32: 0xe0000008,
  SCMP_ARCH_PPC: 0x00000014,
  SCMP_ARCH_PPC64: 0x80000015,
  SCMP_ARCH_PPC64LE: 0xc0000015,
  SCMP_ARCH_S390: 0x00000016,
  SCMP_ARCH_S390X: 0x80000016,
  SCMP_ARCH_RISCV64: 0xc00000f3,
  SCMP_ARCH_LOONGARCH64: 0xc0000102,
};

export function architectureValue(name: string): number {
  const value = ARCHITECTURES[name];
  if (value === undefined)
    throw new EngineError("invalid_argument", `string ${name} is not a valid arch for seccomp`);
  return value;
}

const NEW_LISTENER = 8;
/** About the wait for an agent's answer: the kernel refuses it where there is no agent. */
const WAIT_KILLABLE_RECV = 32;

const FLAGS: Record<string, number> = {
  // The filter is loaded by a process of one thread: nothing to synchronise.
  SECCOMP_FILTER_FLAG_TSYNC: 0,
  SECCOMP_FILTER_FLAG_LOG: 2,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW: 4,
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: WAIT_KILLABLE_RECV,
};

/** Flags of seccomp(2). Without any in the specification SPEC_ALLOW, as the original; a listener as soon as a rule asks one. */
export function filterFlags(profile: Seccomp): number {
  const { flags = ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"] } = profile;
  const asked = flags.reduce((bits, name) => {
    const flag = FLAGS[name];
    if (flag === undefined) {
      throw new EngineError("invalid_argument", `seccomp flag ${name} is not known to runc`);
    }
    return bits | flag;
  }, 0);
  return hasListener(profile) ? asked | NEW_LISTENER : asked & ~WAIT_KILLABLE_RECV;
}

/**
 * Whether a profile leaves calls to an agent.
 *
 * @throws EngineError for what would stop the runtime itself before the agent is there
 */
export function hasListener({ defaultAction, syscalls = [], listenerPath }: Seccomp): boolean {
  if (defaultAction === "SCMP_ACT_NOTIFY") {
    throw new EngineError("invalid_argument", "SCMP_ACT_NOTIFY cannot be used as default action");
  }
  const asking = syscalls.filter(({ action }) => action === "SCMP_ACT_NOTIFY");
  if (asking.some(({ names }) => names.includes("write"))) {
    throw new EngineError("invalid_argument", "SCMP_ACT_NOTIFY cannot be used for the write syscall");
  }
  if (asking.length > 0 && !listenerPath) {
    throw new EngineError("invalid_argument", "seccomp listenerPath is not set");
  }
  return asking.length > 0;
}

/** Whether an action lets the call happen: then a call unknown to the profile must not fail. */
export function isPermissive(action: string): boolean {
  return action === "SCMP_ACT_ALLOW" || action === "SCMP_ACT_LOG" || action === "SCMP_ACT_TRACE";
}

export interface NewestCall {
  architecture: number;
  /** The highest number that the profile mentions. */
  number: number;
}

/** An instruction of classic BPF, as the kernel has it in memory. */
function instruction(code: number, jumpTrue: number, jumpFalse: number, k: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(code, 0);
  bytes.writeUInt8(jumpTrue, 2);
  bytes.writeUInt8(jumpFalse, 3);
  bytes.writeUInt32LE(k, 4);
  return bytes;
}

const LOAD = 0x20;
const JUMP_EQUAL = 0x15;
const JUMP_GREATER = 0x25;
const JUMP_GREATER_EQUAL = 0x35;
const RETURN = 0x06;
const RETURN_ENOSYS = 0x00050000 + 38;

const X32_BIT = 0x40000000;

/**
 * What stands before the filter: system calls newer than the profile fail with ENOSYS, not EPERM, so that a C library falls back
 * to older ones. Numbers of x32, which share their architecture with those of x86-64, have a bit of their own.
 */
export function enosysPrelude(newest: readonly NewestCall[]): Buffer {
  return Buffer.concat(
    newest.flatMap(({ architecture, number }) => {
      const x32 = number >= X32_BIT;
      return [
        instruction(LOAD, 0, 0, 4), // arch
        instruction(JUMP_EQUAL, 0, 4, architecture),
        instruction(LOAD, 0, 0, 0), // nr
        x32 ? instruction(JUMP_GREATER_EQUAL, 0, 2, X32_BIT) : instruction(JUMP_GREATER_EQUAL, 2, 0, X32_BIT),
        instruction(JUMP_GREATER, 0, 1, number),
        instruction(RETURN, 0, 0, RETURN_ENOSYS),
      ];
    }),
  );
}
