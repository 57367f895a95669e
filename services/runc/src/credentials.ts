import { EngineError } from "@longshore/errors";
import { CAPABILITIES, capabilityBits, type Process } from "@longshore/oci";
import {
  type CallOptions,
  type CallTable,
  check,
  ENOSYS,
  EPERM,
  errnoText,
  type Hand,
  isOpen,
  KEYCTL_JOIN_SESSION_KEYRING,
  KEYCTL_SETPERM,
  NR,
  PR_CAP_AMBIENT,
  PR_CAP_AMBIENT_CLEAR_ALL,
  PR_CAP_AMBIENT_RAISE,
  PR_CAPBSET_DROP,
  PR_SET_KEEPCAPS,
  prlimit,
  RLIMITS,
  readText,
  type Slot,
  scratch,
  stat,
  syscall,
} from "@longshore/syscalls";
import { log } from "./log.ts";
import { isRootless } from "./rootless.ts";
import { StartError } from "./start-error.ts";

/** Queue: limits of the process. Bun raises the number of open files for itself; its caller's is put back. */
export function setLimits(hand: Hand, { rlimits = [] }: Process, callerPid: number): void {
  const { arena } = hand.calls;
  const set = (resource: number, soft: bigint, hard: bigint, about: string) => {
    const at = arena.room(16);
    arena.bytes.writeBigUInt64LE(soft, at);
    arena.bytes.writeBigUInt64LE(hard, at + 8);
    hand.call("prlimit64", [0, resource, arena.base + at, 0], { about });
  };
  const seen = new Set<string>();
  for (const { type, soft, hard } of rlimits) {
    const resource = RLIMITS[type];
    if (resource === undefined) throw new EngineError("invalid_argument", `invalid rlimit type ${type}`);
    if (seen.has(type)) throw new EngineError("invalid_argument", `rlimit ${type} is set twice`);
    seen.add(type);
    set(resource, limitBits(soft), limitBits(hard), `error setting rlimit type ${resource}`);
  }
  if (!seen.has("RLIMIT_NOFILE")) {
    const { soft, hard } = prlimit(callerPid, 7);
    set(7, soft, hard, "RLIMIT_NOFILE");
  }
}

/** A limit as JSON has it, where 2^64 − 1 has lost its last digits. */
export function limitBits(value: number): bigint {
  const bits = BigInt(value);
  const max = 0xffffffffffffffffn;
  return bits > max ? max : bits;
}

/** Descriptors of the standard streams belong to the user, so that /proc/self/fd/1 can be opened again. */
export function ownStreams(hand: Hand, uid: number): void {
  for (const fd of [0, 1, 2]) {
    if (!isOpen(fd)) continue;
    const { uid: owner, rdev, mode } = stat("", 0x1000, fd);
    const isNull = (mode & 0o170000) === 0o020000 && rdev === 0x103;
    if (owner === uid || isNull) continue;
    hand.call("fchown", [fd, uid, -1], { skipOnError: 0 });
  }
}

/** Where calls go: to the child, or into a program that makes them later. */
export interface Sink {
  add: CallTable["add"];
  arena: CallTable["arena"];
}

/** A child as a {@link Sink}. */
export function sinkOf(hand: Hand): Sink {
  return { add: (name, args, options) => hand.call(name, args, options), arena: hand.calls.arena };
}

const ADMIN = 1n << 21n;

/** The number of the kernel's last capability, of those that are known here. */
function lastCapability(): number {
  return Math.min(Number(readText("/proc/sys/kernel/cap_last_cap")), CAPABILITIES.length - 1);
}

interface CapabilitySets {
  effective: bigint;
  permitted: bigint;
  inheritable: bigint;
}

/** Queue: capset(2) of the caller. */
function setCapabilities(
  sink: Sink,
  { effective, permitted, inheritable }: CapabilitySets,
  options: CallOptions,
): void {
  const header = sink.arena.room(8);
  sink.arena.bytes.writeUInt32LE(0x20080522, header);
  const data = sink.arena.room(24);
  for (const [index, set] of [effective, permitted, inheritable].entries()) {
    sink.arena.bytes.writeUInt32LE(Number(set & 0xffffffffn), data + 4 * index);
    sink.arena.bytes.writeUInt32LE(Number(set >> 32n), data + 12 + 4 * index);
  }
  sink.add("capset", [sink.arena.base + header, sink.arena.base + data], options);
}

/** What we may, and a child of ours: all that a user namespace knows, if it has entered one. */
function ownCapabilities(ownUsers: boolean): bigint {
  if (ownUsers) return (1n << BigInt(lastCapability() + 1)) - 1n;
  const arena = scratch();
  const header = arena.room(8);
  arena.bytes.writeUInt32LE(0x20080522, header);
  const data = arena.room(24);
  check(syscall(NR.capget, arena.base + header, arena.base + data), "capget");
  return BigInt(arena.bytes.readUInt32LE(data + 4)) | (BigInt(arena.bytes.readUInt32LE(data + 16)) << 32n);
}

/** Queue, for the program in between: the right goes that {@link CredentialOptions.keepAdmin} has left it. */
export function dropAdmin(sink: Sink, { user, capabilities = {} }: Process, options: CallOptions): void {
  const last = lastCapability();
  const bits = (names: string[] | undefined) => capabilityBits(names, last);
  const { effective, inheritable, bounding, ambient } = capabilities;
  // What a program of root's has after its start. That of another user has only the ambient ones.
  const root = (user?.uid ?? 0) === 0 ? bits(effective) & (bits(inheritable) | bits(bounding)) : 0n;
  const left = root | (bits(ambient) & bits(inheritable));
  setCapabilities(sink, { effective: left, permitted: left, inheritable: bits(inheritable) }, options);
}

export interface CredentialOptions {
  /** Whether the next program still has CAP_SYS_ADMIN, for what can't be done before it. */
  keepAdmin: boolean;
  /** Whether the child is in a user namespace of the container. */
  ownUsers: boolean;
}

/**
 * Queue: user, groups and capabilities, in the order in which each step still has the right to the next.
 *
 * @returns the results of raising ambient capabilities, which may fail: see {@link warnOfAmbient}
 */
export function setCredentials(
  sink: Sink,
  process: Process,
  { keepAdmin, ownUsers }: CredentialOptions,
): Map<string, Slot> {
  const { user = {}, capabilities = {} } = process;
  const { uid = 0, gid = 0, additionalGids = [], umask = 0o22 } = user;
  const last = lastCapability();
  const kept = keepAdmin ? ADMIN : 0n;
  if (keepAdmin) {
    // Into the inheritable set, while the bounding set still lets it in.
    const all = ownCapabilities(ownUsers);
    setCapabilities(
      sink,
      { effective: all, permitted: all, inheritable: ADMIN },
      { about: "unable to apply caps" },
    );
  }
  warnOfUnknown(capabilities, last);
  const bits = (names: string[] | undefined) => capabilityBits(names, last);
  const bounding = bits(capabilities.bounding);
  for (let number = 0; number <= last; number++) {
    if ((bounding & (1n << BigInt(number))) === 0n) {
      sink.add("prctl", [PR_CAPBSET_DROP, number, 0, 0, 0], { about: "unable to apply bounding set" });
    }
  }
  sink.add("prctl", [PR_SET_KEEPCAPS, 1, 0, 0, 0], { about: "unable to set keep caps" });
  const groups = sink.arena.room(4 * Math.max(1, additionalGids.length));
  for (const [index, group] of additionalGids.entries())
    sink.arena.bytes.writeUInt32LE(group, groups + 4 * index);
  sink.add("setgroups", [additionalGids.length, sink.arena.base + groups], {
    about: "unable to setup user",
    recover: (error) => {
      // Where groups can't be changed, as in what a user may make, there is none to lose either.
      if (additionalGids.length > 0 || error.errno !== EPERM || !keepsGroups()) throw error;
      return 0;
    },
  });
  sink.add("setresgid", [gid, gid, gid], { about: "unable to setup user" });
  sink.add("setresuid", [uid, uid, uid], { about: "unable to setup user" });
  sink.add("prctl", [PR_SET_KEEPCAPS, 0, 0, 0, 0], { about: "unable to clear keep caps" });
  const { effective, permitted, inheritable } = capabilities;
  const sets = {
    effective: bits(effective) | kept,
    permitted: bits(permitted) | kept,
    inheritable: bits(inheritable) | kept,
  };
  setCapabilities(sink, sets, { about: "unable to apply caps" });
  sink.add("prctl", [PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0], { skipOnError: 0 });
  const raised = new Map<string, Slot>();
  for (const name of capabilities.ambient ?? []) {
    const number = CAPABILITIES.indexOf(name);
    if (number < 0 || number > last) continue;
    // The kernel refuses what isn't permitted and inheritable; the original warns and goes on.
    raised.set(
      name,
      sink.add("prctl", [PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0], { skipOnError: 0 }),
    );
  }
  if (keepAdmin)
    sink.add("prctl", [PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0], { about: "unable to apply caps" });
  sink.add("umask", [umask]);
  return raised;
}

function warnOfUnknown(sets: NonNullable<Process["capabilities"]>, last: number): void {
  const unknown = new Set<string>();
  for (const names of Object.values(sets) as (string[] | undefined)[]) {
    for (const name of names ?? []) {
      const number = CAPABILITIES.indexOf(name);
      if (number < 0 || number > last) unknown.add(name);
    }
  }
  if (unknown.size === 0) return;
  log("warning", `ignoring unknown or unavailable capabilities: [${[...unknown].sort().join(" ")}]`);
}

/** Say which ambient capabilities the kernel has refused, once the calls have been made. */
export function warnOfAmbient(hand: Hand, raised: ReadonlyMap<string, Slot>): void {
  for (const [name, slot] of raised) {
    const result = hand.result(slot);
    if (result < 0) log("warning", `can't raise ambient capability ${name}: ${errnoText(-result)}`);
  }
}

/** What to do about keys: an init process has a ring of its own, which further processes share. */
export type Keyring = "none" | "new" | "join";

/** Queue: a session keyring of the container's own, found by its name; kernels without keys go without. */
export function joinKeyring(
  hand: Hand,
  id: string,
  { keyring, ownUsers }: { keyring: Keyring; ownUsers: boolean },
): void {
  if (keyring === "none") return;
  const ring = hand.call("keyctl", [KEYCTL_JOIN_SESSION_KEYRING, hand.text(`_ses.${id}`)], {
    recover: (error) => {
      if (error.errno !== ENOSYS) {
        throw new StartError(`unable to join session keyring: ${errnoText(error.errno)}`);
      }
      log("warning", `KeyctlJoinSessionKeyring: ${errnoText(error.errno)}`);
      return keyring === "new" ? 1 : 0;
    },
  });
  // All to who possesses it; to its owner, in a user namespace to others, enough to be found.
  const permissions = 0x3f1b0000 + (ownUsers ? 0x8 : 0);
  if (keyring === "new") hand.call("keyctl", [KEYCTL_SETPERM, ring, permissions], { skipOnError: 0 });
}

function keepsGroups(): boolean {
  return isRootless() || readText("/proc/self/setgroups").trim() === "deny";
}
