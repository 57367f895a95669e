import { CFunction, FFIType, type Pointer, toArrayBuffer } from "bun:ffi";
import { Errno } from "@longshore/errors";
import { Arena, addressOf, check, fixedBuffer, scratch, syscall } from "./call.ts";
import {
  CLONE_CHILD_CLEARTID,
  CLONE_FILES,
  CLONE_INTO_CGROUP,
  CLONE_NEWPID,
  CLONE_PARENT,
  CLONE_PARENT_SETTID,
  CLONE_VM,
  PR_SET_DUMPABLE,
  PR_SET_PDEATHSIG,
} from "./constants.ts";
import { errnoName } from "./errno-table.ts";
import { ADOPT_ENTRY, ENTRY_BYTES, handCode } from "./hand-code.ts";
import * as NR from "./numbers.ts";

/** What a hand and its programs can be asked for: by name, for errors name the call. */
const HAND_CALLS = {
  accept4: NR.accept4,
  bind: NR.bind,
  bpf: NR.bpf,
  capset: NR.capset,
  chdir: NR.chdir,
  chroot: NR.chroot,
  clone: NR.clone,
  clone3: NR.clone3,
  close: NR.close,
  close_range: NR.close_range,
  connect: NR.connect,
  dup3: NR.dup3,
  execve: NR.execve,
  execveat: NR.execveat,
  exit_group: NR.exit_group,
  faccessat: NR.faccessat,
  faccessat2: NR.faccessat2,
  fchdir: NR.fchdir,
  fchmod: NR.fchmod,
  fchown: NR.fchown,
  fchownat: NR.fchownat,
  fcntl: NR.fcntl,
  fsconfig: NR.fsconfig,
  fsmount: NR.fsmount,
  fsopen: NR.fsopen,
  futex: NR.futex,
  getcwd: NR.getcwd,
  getpid: NR.getpid,
  getppid: NR.getppid,
  ioctl: NR.ioctl,
  ioprio_set: NR.ioprio_set,
  keyctl: NR.keyctl,
  listen: NR.listen,
  mkdirat: NR.mkdirat,
  mknodat: NR.mknodat,
  mount: NR.mount,
  mount_setattr: NR.mount_setattr,
  move_mount: NR.move_mount,
  nanosleep: NR.nanosleep,
  newfstatat: NR.newfstatat,
  open_tree: NR.open_tree,
  openat: NR.openat,
  openat2: NR.openat2,
  personality: NR.personality,
  pivot_root: NR.pivot_root,
  poll: NR.poll,
  prctl: NR.prctl,
  prlimit64: NR.prlimit64,
  read: NR.read,
  readlinkat: NR.readlinkat,
  rt_sigaction: NR.rt_sigaction,
  rt_sigprocmask: NR.rt_sigprocmask,
  sched_setaffinity: NR.sched_setaffinity,
  sched_setattr: NR.sched_setattr,
  seccomp: NR.seccomp,
  sendfile: NR.sendfile,
  sendmsg: NR.sendmsg,
  set_mempolicy: NR.set_mempolicy,
  setdomainname: NR.setdomainname,
  setgroups: NR.setgroups,
  sethostname: NR.sethostname,
  setns: NR.setns,
  setresgid: NR.setresgid,
  setresuid: NR.setresuid,
  setsid: NR.setsid,
  socket: NR.socket,
  symlinkat: NR.symlinkat,
  umask: NR.umask,
  umount2: NR.umount2,
  unlinkat: NR.unlinkat,
  unshare: NR.unshare,
  waitid: NR.waitid,
  write: NR.write,
} as const;

export type HandCall = keyof typeof HAND_CALLS;

/** The result of an earlier call of the same table, used as an argument of a later one. */
export class Slot {
  readonly address: number;

  constructor(address: number) {
    this.address = address;
  }
}

export type Argument = number | Slot;

export interface CallOptions {
  /** What the call is about, for the error. */
  about?: string;
  /** Calls to skip when it fails; left out, the table stops there. 0: a failure doesn't matter. */
  skipOnError?: number;
  /** Calls to skip when it succeeds. */
  skipOnOk?: number;
  /**
   * What to do when it fails and isn't skipped, before it is made once more, or when a number is returned, before that many
   * calls after it are left out. May queue and run other calls; throws to give up. Only for tables that a {@link Hand} runs.
   */
  recover?: (error: CallError) => number | undefined;
}

/** What a caller says about the calls that it queues: the whole message of a failure, from the reason of the one call. */
export type Wording = (error: CallError) => string;

/** The failure of a queued call. */
export class CallError extends Errno {
  /** What the call was about, as its options say. */
  readonly about: string;
  readonly wording: Wording | undefined;

  constructor(errno: number, call: string, about: string, wording: Wording | undefined) {
    super(errnoName(errno), errno, call, about);
    this.about = about;
    this.wording = wording;
  }
}

interface Entry {
  name: string;
  about: string;
  recover: CallOptions["recover"];
  wording: Wording | undefined;
}

/** A table of system calls in memory; addresses in it are relative to `origin` when it is made for another address space. */
export class CallTable {
  readonly arena: Arena;
  /** Given to the calls that are added from now on. */
  wording: Wording | undefined;
  readonly #entries: Buffer;
  readonly #words: Uint32Array;
  readonly #entriesAddress: number;
  readonly #meta: Entry[] = [];

  /** @param addresses where entries and strings will be when it runs; left out: where they are here */
  constructor({
    maxCalls,
    bytes,
    entriesAddress,
  }: { maxCalls: number; bytes: number; entriesAddress?: number }) {
    this.#entries = fixedBuffer(maxCalls * ENTRY_BYTES);
    this.#words = new Uint32Array(this.#entries.buffer);
    this.#entriesAddress = entriesAddress ?? addressOf(this.#entries);
    this.arena = new Arena(
      bytes,
      entriesAddress === undefined ? undefined : entriesAddress + this.#entries.length,
    );
  }

  get length(): number {
    return this.#meta.length;
  }

  addressOfEntry(index: number): number {
    return this.#entriesAddress + index * ENTRY_BYTES;
  }

  /** What the table and its strings look like in memory, entries first. */
  image(): Buffer {
    return Buffer.concat([this.#entries, this.arena.bytes.subarray(0, this.arena.used)]);
  }

  /** Append a call. */
  add(name: HandCall, args: readonly Argument[], options: CallOptions = {}): Slot {
    const at = this.#meta.length * ENTRY_BYTES;
    if (at + ENTRY_BYTES > this.#entries.length) throw new Error("too many calls for the table");
    let indirect = 0;
    const words = this.#words;
    for (let index = 0; index < args.length; index++) {
      const argument = args[index] ?? 0;
      if (argument instanceof Slot) indirect |= 1 << index;
      const value = argument instanceof Slot ? argument.address : argument;
      words[(at >> 2) + 4 + 2 * index] = value >>> 0;
      words[(at >> 2) + 5 + 2 * index] = Math.floor(value / 0x100000000) >>> 0;
    }
    words[at >> 2] = HAND_CALLS[name];
    words[(at >> 2) + 1] = indirect;
    words[(at >> 2) + 2] = (options.skipOnError ?? -1) >>> 0;
    words[(at >> 2) + 3] = options.skipOnOk ?? 0;
    this.#meta.push({
      name,
      about: options.about ?? "",
      recover: options.recover,
      wording: this.wording,
    });
    return new Slot(this.addressOfEntry(this.#meta.length - 1) + 64);
  }

  /** What the call with this result returned; negative: minus the error's number. Zero before it ran. */
  result(slot: Slot): number {
    return Number(this.#entries.readBigInt64LE(slot.address - this.#entriesAddress));
  }

  /** Give a call a result that was come by in another way, from its `recover` for the calls that use it. */
  settle(slot: Slot, value: number): void {
    this.#entries.writeBigInt64LE(BigInt(value), slot.address - this.#entriesAddress);
  }

  /** Whether somebody can do something about the failure of an entry; asked for once, the second failure counts. */
  takeRecovery(index: number): CallOptions["recover"] {
    const entry = this.#meta[index];
    const recover = entry?.recover;
    if (entry) entry.recover = undefined;
    return recover;
  }

  /** The failure of an entry as an error. */
  errorAt(index: number): CallError {
    const errno = -Number(this.#entries.readBigInt64LE(index * ENTRY_BYTES + 64));
    const entry = this.#meta[index];
    return new CallError(errno, entry?.name ?? "call", entry?.about ?? "", entry?.wording);
  }
}

let spawnFunction: ((args: number, size: number, mailbox: number) => number) | undefined;
let codeAddress = 0;

/** The code, in executable memory that nobody can write any more. */
function loadCode(): NonNullable<typeof spawnFunction> {
  if (spawnFunction) return spawnFunction;
  const code = handCode();
  const page = check(syscall(NR.mmap, 0, 4096, 3, 0x22, -1, 0), "mmap"); // READ|WRITE, PRIVATE|ANONYMOUS
  new Uint8Array(toArrayBuffer(page as Pointer, 0, code.length)).set(code);
  check(syscall(NR.mprotect, page, 4096, 5), "mprotect"); // READ|EXEC
  codeAddress = page;
  const { u64, i64_fast } = FFIType;
  const call = CFunction({ ptr: page as Pointer, args: [u64, u64, u64], returns: i64_fast });
  spawnFunction = (args, size, mailbox) => Number(call(args, size, mailbox));
  return spawnFunction;
}

const IDLE = 1;
const ASKED = 2;
const STACK_BYTES = 16384;

export interface HandOptions {
  /** CLONE_NEW* and CLONE_PARENT. */
  flags: number;
  /** Directory of a cgroup v2 in which the child begins its life. */
  cgroupFd?: number | undefined;
  /** A pid namespace to be born in. We never enter it ourselves: our engine could then start no thread, and would abort. */
  pidNamespaceFd?: number | undefined;
  /** How many calls it will make in its life, at most; 1024 if nothing is said. */
  maxCalls?: number;
  /** Namespaces to be born in, entered in this order before those of `flags` are made. */
  enter?: readonly { fd: number; flag: number; about: string }[];
}

/** The child is no longer there: it was killed, or it has become another program. */
export class HandGone extends Error {
  override readonly name = "HandGone";
}

/**
 * A child process that carries out system calls for this one, and at last becomes another program.
 *
 * It shares our memory and descriptors (CLONE_VM, CLONE_FILES; execve parts them), and runs no JavaScript, only a loop of machine code which waits for a table
 * of calls, makes them and wakes us. So a container can be set up from inside its namespaces while all decisions stay
 * here, and none of the dangers of forking a JavaScript engine (lost threads, garbage collection, copied pages) exist.
 * Signals are blocked in it, its handlers would run on our memory, until it becomes a program. It dies with us.
 */
export class Hand implements Disposable {
  readonly pid: number;
  readonly calls: CallTable;
  readonly #mailbox: Buffer;
  readonly #address: number;
  readonly #stack = fixedBuffer(STACK_BYTES);
  #done = 0;
  /** Up to where the child was told to go by {@link begin}. */
  #pendingEnd: number | undefined;
  #gone = false;

  constructor(options: HandOptions) {
    // Of the memory that we share: nobody in a namespace that the child is born in may look into it, not for a moment. A
    // user who isn't root would lose the child's files in /proc with it.
    if (process.geteuid?.() === 0) syscall(NR.prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
    const { maxCalls = 1024 } = options;
    this.calls = new CallTable({ maxCalls, bytes: Math.max(1 << 20, maxCalls * 512) });
    const spawn = loadCode();
    this.#mailbox = fixedBuffer(32);
    this.#address = addressOf(this.#mailbox);
    this.#mailbox.writeUInt32LE(IDLE, 0);
    const { pidNamespaceFd, enter = [] } = options;
    const entered =
      pidNamespaceFd === undefined
        ? enter
        : [{ fd: pidNamespaceFd, flag: CLONE_NEWPID, about: "pid namespace" }, ...enter];
    // Asked for before it is born: were we killed before it had been told, it would wait for us for ever.
    this.call("prctl", [PR_SET_PDEATHSIG, 9]);
    this.begin();
    this.pid = entered.length === 0 ? this.#spawn(spawn, options) : this.#spawnWithin(entered, options);
    liveHands.add(this);
  }

  /** Fill in clone3's arguments (88 bytes) in an arena; their address. */
  #cloneArguments(
    arena: Arena,
    { flags, cgroupFd }: HandOptions,
    more: { flags: number; stackBytes: number; parentTid: number },
  ) {
    const args = arena.room(88);
    const put = (at: number, value: number) => arena.bytes.writeBigUInt64LE(BigInt(value), args + at);
    const intoCgroup = cgroupFd === undefined ? 0 : CLONE_INTO_CGROUP;
    put(0, flags + CLONE_VM + CLONE_FILES + CLONE_CHILD_CLEARTID + intoCgroup + more.flags);
    put(16, this.#address);
    put(24, more.parentTid);
    put(32, (more.flags & CLONE_PARENT) === 0 ? 17 : 0); // SIGCHLD; with CLONE_PARENT it is the maker's own
    put(40, addressOf(this.#stack));
    put(48, more.stackBytes);
    put(80, cgroupFd ?? 0);
    return arena.base + args;
  }

  #spawn(spawn: NonNullable<typeof spawnFunction>, options: HandOptions): number {
    const arena = scratch();
    const args = this.#cloneArguments(arena, options, { flags: 0, stackBytes: STACK_BYTES, parentTid: 0 });
    const all = arena.room(8);
    const before = arena.room(8);
    arena.bytes.fill(0xff, all, all + 8);
    const mask = (set: number, old: number) => syscall(NR.rt_sigprocmask, 2, set, old, 8);
    mask(arena.base + all, arena.base + before);
    const pid = spawn(args, 88, this.#address);
    mask(arena.base + before, 0);
    if (pid < 0) throw new Errno(errnoName(-pid), -pid, "clone3", `0x${options.flags.toString(16)}`);
    return pid;
  }

  /** Through another hand, which enters the namespaces and makes this one as a child of ours. */
  #spawnWithin(namespaces: NonNullable<HandOptions["enter"]>, options: HandOptions): number {
    using maker = new Hand({ flags: 0 });
    for (const { fd, flag, about } of namespaces) maker.call("setns", [fd, flag], { about });
    // At the top of its stack: where to return to, and what is taken from there.
    this.#stack.writeBigUInt64LE(BigInt(codeAddress + ADOPT_ENTRY), STACK_BYTES - 16);
    this.#stack.writeBigUInt64LE(BigInt(this.#address), STACK_BYTES - 8);
    const { arena } = maker.calls;
    const pid = arena.room(4);
    const args = this.#cloneArguments(arena, options, {
      flags: CLONE_PARENT + CLONE_PARENT_SETTID,
      stackBytes: STACK_BYTES - 16,
      parentTid: arena.base + pid,
    });
    maker.call("clone3", [args, 88], { about: "in the namespaces" });
    maker.run();
    return arena.bytes.readInt32LE(pid);
  }

  /** Queue a call; it is made by the next {@link run}. */
  call(name: HandCall, args: readonly Argument[], options: CallOptions = {}): Slot {
    return this.calls.add(name, args, options);
  }

  /** Address of a string that the queued calls use. */
  text(value: string): number {
    return this.calls.arena.string(value);
  }

  result(slot: Slot): number {
    return this.calls.result(slot);
  }

  /**
   * Make the queued calls.
   *
   * @throws Errno of the first call that failed and must not; the rest of the queue is dropped
   * @throws HandGone when the child has died
   */
  run(): void {
    this.#runQueue(false);
  }

  /**
   * Let the child begin with the queued calls while we go on. When it is still busy they stay in the queue. What they have come to is
   * looked at by the next {@link begin} that finds it idle, or {@link run}.
   *
   * @throws as {@link run} does, for calls that were begun earlier
   */
  begin(): void {
    if (this.#pendingEnd !== undefined && this.#mailbox.readUInt32LE(0) === ASKED) return;
    this.#awaitBegun();
    const end = this.calls.length;
    if (this.#done === end) return;
    this.#post(this.#done, end);
    this.#done = end;
    this.#pendingEnd = end;
  }

  /** Make the queued calls, the last of which is an execve that succeeds: afterwards the child is that program. */
  runToExec(): void {
    this.#runQueue(true);
    if (!this.#gone) throw new Error("the last call was no execve");
  }

  #awaitBegun(): void {
    const end = this.#pendingEnd;
    if (end === undefined) return;
    this.#pendingEnd = undefined;
    const stopped = this.#await(end, false);
    if (stopped === undefined) return;
    // Whatever recovers it comes before what was queued meanwhile.
    const from = this.#done;
    const to = this.calls.length;
    this.#settle(stopped, end, false);
    if (from < to) this.#settle(this.#ask(from, to, false), to, false);
  }

  #runQueue(mayGo: boolean): void {
    this.#awaitBegun();
    const end = this.calls.length;
    const from = this.#done;
    if (from === end) return;
    this.#done = end;
    this.#settle(this.#ask(from, end, mayGo), end, mayGo);
  }

  /** Recover from the failure of a call, and go on with those after it. */
  #settle(stopped: number | undefined, end: number, mayGo: boolean): void {
    for (let failed = stopped; failed !== undefined; ) {
      const error = this.calls.errorAt(failed);
      const recover = this.calls.takeRecovery(failed);
      if (!recover) throw error;
      this.#done = this.calls.length;
      // What is queued meanwhile is about the same thing.
      const { wording } = this.calls;
      this.calls.wording = error.wording;
      const skip = recover(error);
      this.calls.wording = wording;
      const from = skip === undefined ? failed : failed + 1 + skip;
      if (from >= end) return;
      failed = this.#ask(from, end, mayGo);
    }
  }

  /** The index of the call that failed and must not, if any. */
  #ask(from: number, end: number, mayGo: boolean): number | undefined {
    this.#post(from, end);
    return this.#await(end, mayGo);
  }

  #post(from: number, end: number): void {
    if (this.#gone) throw new HandGone("the child is gone");
    this.#mailbox.writeBigUInt64LE(BigInt(this.calls.addressOfEntry(from)), 8);
    this.#mailbox.writeBigUInt64LE(BigInt(this.calls.addressOfEntry(end)), 16);
    this.#mailbox.writeUInt32LE(ASKED, 0);
    syscall(NR.futex, this.#address, 1, 1);
  }

  #await(end: number, mayGo: boolean): number | undefined {
    const arena = scratch();
    const timeout = arena.room(16);
    arena.bytes.writeBigInt64LE(100_000_000n, timeout + 8);
    // Looked at again each 100 ms: a filter of system calls may keep the child from waking us.
    while (this.#mailbox.readUInt32LE(0) === ASKED) {
      syscall(NR.futex, this.#address, 0, ASKED, arena.base + timeout);
    }
    if (this.#mailbox.readUInt32LE(0) !== IDLE) {
      this.#gone = true;
      liveHands.delete(this);
      if (mayGo) return undefined;
      throw new HandGone("the child was killed");
    }
    const stopped = this.#mailbox.readBigUInt64LE(24);
    const index = Number(stopped - BigInt(this.calls.addressOfEntry(0))) / ENTRY_BYTES;
    return index >= end ? undefined : index;
  }

  /** Kill the child unless it has become another program; that one is nobody's business here. */
  [Symbol.dispose](): void {
    if (this.#gone) return;
    this.#gone = true;
    liveHands.delete(this);
    syscall(NR.kill, this.pid, 9);
    syscall(NR.wait4, this.pid, 0, 0, 0);
  }
}

// The child runs on memory that the collector must not take away.
const liveHands = new Set<Hand>();
