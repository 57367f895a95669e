import { EngineError } from "@longshore/errors";
import type { CpuAffinity, IoPriority, MemoryPolicy, Personality, Process, Scheduler } from "@longshore/oci";
import {
  addressOf,
  errnoText,
  exists,
  fixedBuffer,
  type Hand,
  NR,
  readTextIfExists,
  syscall,
} from "@longshore/syscalls";
import { log } from "./log.ts";
import { StartError } from "./start-error.ts";

// What the specification says of a process beside its rights: how it is scheduled, where its memory comes from, what it takes itself
// for. Names are those of the kernel's headers.

function invalid(message: string): never {
  throw new EngineError("invalid_argument", message);
}

function numberOf(values: Readonly<Record<string, number>>, name: string, what: string): number {
  return values[name] ?? invalid(`invalid ${what}: ${JSON.stringify(name)}`);
}

/** Refuse what contradicts itself, before anything is made; the rules and words are the original's. */
export function checkAttributes({ scheduler, ioPriority, execCPUAffinity }: Process): void {
  if (scheduler) schedulerWords(scheduler);
  if (ioPriority) ioPriorityValue(ioPriority);
  for (const list of [execCPUAffinity?.initial, execCPUAffinity?.final]) if (list) cpuMask(list);
}

/** struct sched_attr (sched_setattr(2)), 48 bytes as 32-bit words. */
function schedulerWords(scheduler: Scheduler): number[] {
  const { policy, nice = 0, priority = 0, flags = [], runtime = 0, deadline = 0, period = 0 } = scheduler;
  if (policy === "") invalid("scheduler policy is required");
  const policies = {
    SCHED_OTHER: 0,
    SCHED_FIFO: 1,
    SCHED_RR: 2,
    SCHED_BATCH: 3,
    SCHED_ISO: 4,
    SCHED_IDLE: 5,
    SCHED_DEADLINE: 6,
  };
  const number = numberOf(policies, policy, "scheduler policy");
  const usesNice = number === 0 || number === 3;
  const usesPriority = number === 1 || number === 2;
  if (usesNice && (nice < -20 || nice > 19)) {
    invalid(`invalid scheduler.nice: ${nice} when scheduler.policy is ${policy}`);
  }
  if (priority !== 0 && !usesPriority) {
    invalid("scheduler.priority can only be specified for SchedFIFO or SchedRR policy");
  }
  if (number !== 6 && (runtime !== 0 || deadline !== 0 || period !== 0)) {
    invalid("scheduler runtime/deadline/period can only be specified for SchedDeadline policy");
  }
  const known = {
    SCHED_FLAG_RESET_ON_FORK: 0x01,
    SCHED_FLAG_RECLAIM: 0x02,
    SCHED_FLAG_DL_OVERRUN: 0x04,
    SCHED_FLAG_KEEP_POLICY: 0x08,
    SCHED_FLAG_KEEP_PARAMS: 0x10,
    SCHED_FLAG_UTIL_CLAMP_MIN: 0x20,
    SCHED_FLAG_UTIL_CLAMP_MAX: 0x40,
  };
  const bits = flags.reduce((sum, flag) => sum | numberOf(known, flag, "scheduler flag"), 0);
  const long = (value: number) => [value >>> 0, Math.floor(value / 0x100000000) >>> 0];
  return [48, number, ...long(bits), nice, priority, ...long(runtime), ...long(deadline), ...long(period)];
}

function ioPriorityValue({ class: name, priority = 0 }: IoPriority): number {
  if (priority < 0 || priority > 7) invalid(`invalid ioPriority.Priority: ${priority}`);
  const classes = { IOPRIO_CLASS_RT: 1, IOPRIO_CLASS_BE: 2, IOPRIO_CLASS_IDLE: 3 };
  return (numberOf(classes, name, "ioPriority.Class") << 13) | priority;
}

/** Numbers of a list such as `0-3,7`. */
export function parseList(text: string, max: number): number[] {
  const numbers: number[] = [];
  for (const part of text.split(",")) {
    const range = /^\s*(\d+)(?:-(\d+))?\s*$/.exec(part);
    if (!range) {
      if (part.trim() === "") continue;
      invalid(`invalid list ${JSON.stringify(text)}`);
    }
    const first = Number(range[1]);
    const last = Number(range[2] ?? first);
    if (last < first || last >= max) invalid(`invalid list ${JSON.stringify(text)}`);
    for (let number = first; number <= last; number++) numbers.push(number);
  }
  return numbers;
}

const MAX_NUMBER = 1024;

/** Bits of a set of CPUs or memory nodes, as the kernel takes them. */
function bitsOf(numbers: readonly number[]): Buffer {
  const mask = Buffer.alloc(MAX_NUMBER / 8);
  for (const number of numbers) mask[number >> 3] = (mask[number >> 3] ?? 0) | (1 << (number & 7));
  return mask;
}

function cpuMask(list: string): Buffer {
  const numbers = parseList(list, MAX_NUMBER);
  if (numbers.length === 0) invalid(`invalid CPU list ${JSON.stringify(list)}`);
  return bitsOf(numbers);
}

/** Queue: on which CPUs a further process runs before it is in its cgroup. */
export function setInitialAffinity(hand: Hand, affinity: CpuAffinity | undefined): void {
  if (!affinity?.initial) return;
  setAffinity(hand, cpuMask(affinity.initial), { about: "error setting initial CPU affinity" });
}

/**
 * Queue: on which CPUs a process runs once it is in its cgroup: of an init process all that its cgroup lets it, not those that
 * happened to be ours.
 */
export function setFinalAffinity(hand: Hand, affinity?: CpuAffinity): void {
  if (affinity?.final) {
    setAffinity(hand, cpuMask(affinity.final), { about: "error setting final CPU affinity" });
  } else if (!affinity?.initial) {
    setAffinity(hand, Buffer.alloc(MAX_NUMBER / 8, 0xff), { skipOnError: 0 });
  }
}

function setAffinity(hand: Hand, mask: Buffer, options: { about?: string; skipOnError?: number }): void {
  hand.call("sched_setaffinity", [0, mask.length, hand.calls.arena.copy(mask)], options);
}

/** The policy of a process that is there already: what its parent has may not be for children. */
export function scheduleProcess(pid: number, scheduler: Scheduler): void {
  const result = syscall(NR.sched_setattr, pid, addressOf(schedulerBytes(scheduler)), 0);
  if (result < 0) throw new StartError(`error setting scheduler: ${errnoText(-result)}`);
}

function schedulerBytes(scheduler: Scheduler): Buffer {
  const bytes = fixedBuffer(48);
  for (const [index, word] of schedulerWords(scheduler).entries()) bytes.writeInt32LE(word | 0, 4 * index);
  return bytes;
}

/**
 * Queue: policy of scheduling, and priority of input and output; while we still may.
 *
 * @param options policy: whether the first is wanted
 */
export function setScheduling(
  hand: Hand,
  { scheduler, ioPriority }: Process,
  { policy }: { policy: boolean },
): void {
  const { arena } = hand.calls;
  if (scheduler && policy) {
    const address = arena.copy(schedulerBytes(scheduler));
    hand.call("sched_setattr", [0, address, 0], { about: "error setting scheduler" });
  }
  if (ioPriority) {
    // Of the process (1) that calls (0).
    hand.call("ioprio_set", [1, 0, ioPriorityValue(ioPriority)], { about: "failed to set io priority" });
  }
}

/** Refuse an execution domain that isn't known; the original has no flags of it. */
export function checkPersonality(personality: Personality): void {
  personalityOf(personality);
  const { flags = [] } = personality;
  if (flags.length > 0) log("warning", `ignoring unsupported personality flags: [${flags.join(" ")}]`);
}

function personalityOf({ domain }: Personality): number {
  const number = { LINUX: 0, LINUX32: 8 }[domain];
  return number ?? invalid(`invalid personality domain ${domain}`);
}

/** Queue: what `uname` says the machine is. */
export function setPersonality(hand: Hand, personality: Personality | undefined): void {
  if (personality) hand.call("personality", [personalityOf(personality)], { about: "set_personality" });
}

/** The arguments of set_mempolicy(2). */
export function memoryPolicyOf(policy: MemoryPolicy): { mode: number; nodes: number[] } {
  const { mode, nodes: list = "", flags = [] } = policy;
  const modes = {
    MPOL_DEFAULT: 0,
    MPOL_PREFERRED: 1,
    MPOL_BIND: 2,
    MPOL_INTERLEAVE: 3,
    MPOL_LOCAL: 4,
    MPOL_PREFERRED_MANY: 5,
    MPOL_WEIGHTED_INTERLEAVE: 6,
  };
  const known = {
    MPOL_F_NUMA_BALANCING: 1 << 13,
    MPOL_F_RELATIVE_NODES: 1 << 14,
    MPOL_F_STATIC_NODES: 1 << 15,
  };
  const number = numberOf(modes, mode, "memory policy mode");
  const nodes = parseList(list, MAX_NUMBER);
  if ((number === 0 || number === 4) && nodes.length > 0) {
    invalid(`memory policy mode requires 0 nodes but got ${nodes.length}`);
  }
  if (number !== 0 && number !== 4 && number !== 1 && nodes.length === 0) {
    invalid("memory policy mode requires at least one node but got 0");
  }
  const bits = flags.reduce((sum, flag) => sum | numberOf(known, flag, "memory policy flag"), 0);
  return { mode: number | bits, nodes };
}

/** Queue: from which nodes memory comes. */
export function setMemoryPolicy(hand: Hand, policy: MemoryPolicy | undefined): void {
  if (!policy) return;
  const { mode, nodes } = memoryPolicyOf(policy);
  const mask = nodes.length === 0 ? 0 : hand.calls.arena.copy(bitsOf(nodes));
  // The kernel takes one bit off the number.
  hand.call("set_mempolicy", [mode, mask, mask === 0 ? 0 : MAX_NUMBER + 1], { about: "set_mempolicy" });
}

/** What this kernel can confine by; engines ask for it as soon as they believe it is there. */
export function checkLabels(process: Process, mountLabel: string | undefined): void {
  if ((process.selinuxLabel || mountLabel) && !exists("/sys/fs/selinux/enforce")) {
    invalid("selinux label is specified in config, but selinux is disabled or not supported");
  }
  if (process.apparmorProfile && !appArmorEnabled()) {
    invalid("unable to apply apparmor profile: apparmor: config provided but apparmor not supported");
  }
  if (process.apparmorProfile && !mayBeLoaded(process.apparmorProfile)) {
    throw new StartError(
      "error during container init: unable to apply apparmor profile: apparmor failed to apply profile: " +
        "write /proc/thread-self/attr/apparmor/exec: no such file or directory",
    );
  }
}

/**
 * Whether a profile is loaded, as far as can be told: the kernel refuses it later otherwise, when
 * create has ended. Names with a namespace and stacks of profiles are left to the kernel.
 */
function mayBeLoaded(name: string): boolean {
  if (name === "unconfined" || /[:&]/.test(name)) return true;
  try {
    const loaded = readTextIfExists("/sys/kernel/security/apparmor/profiles");
    return loaded === undefined || loaded.split("\n").some((line) => line.startsWith(`${name} (`));
  } catch {
    return true; // without the right to see them
  }
}

function appArmorEnabled(): boolean {
  return (
    exists("/sys/kernel/security/apparmor") &&
    readTextIfExists("/sys/module/apparmor/parameters/enabled")?.startsWith("Y") === true
  );
}
