import fs from "node:fs";
import {
  AT_FDCWD,
  addressOf,
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWUTS,
  check,
  execve,
  fsconfigCreate,
  fsconfigOption,
  fsmount,
  fsopen,
  MNT_DETACH,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  MS_PRIVATE,
  MS_REC,
  mount,
  mountSetattr,
  moveMount,
  NR,
  O_CLOEXEC,
  OPEN_TREE_CLONE,
  openTree,
  pivotRoot,
  prctl,
  prlimit,
  RLIMITS,
  scratch,
  syscall,
  umount2,
  unshare,
} from "@longshore/syscalls";
import { unpackFilter } from "./unpack-filter.ts";

/**
 * What making files takes: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, MKNOD, SETFCAP, and SYS_ADMIN, without which the kernel neither shows nor
 * sets the attributes `trusted.*` that overlayfs marks directories with. Of what else SYS_ADMIN gives, the filter leaves no system call.
 */
const CAPABILITIES = [0, 1, 3, 4, 21, 27, 31];

const PR_CAPBSET_DROP = 24;
const PR_SET_NO_NEW_PRIVS = 38;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;
const SECCOMP_SET_MODE_FILTER = 1;
const SECCOMP_FILTER_FLAG_TSYNC = 1;
const CAPABILITY_VERSION_3 = 0x20080522;
const EINVAL = -22;
const NOTHING = { soft: 0n, hard: 0n };

/**
 * Start this process again with what unpacking needs and no more: namespaces of its own (no network, none of the machine's System V IPC),
 * few capabilities, and no way to get others. Starting again is what makes it hold for all threads: the engine has some before its first
 * line of ours runs, and the kernel keeps capabilities and namespaces for each thread. {@link finishConfinement} does the rest.
 *
 * @param argv of this program when it starts again; the name first
 * @param env its environment: none of ours is for a process that parses what strangers wrote
 * @throws Errno for what the kernel refuses: the process must not read a layer then
 */
export function restartConfined(argv: readonly string[], env: readonly string[] = []): never {
  unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP);
  for (const name of ["RLIMIT_CORE", "RLIMIT_MEMLOCK", "RLIMIT_MSGQUEUE"]) {
    prlimit(0, RLIMITS[name] ?? 0, NOTHING);
  }
  dropCapabilities();
  prctl(PR_SET_NO_NEW_PRIVS, 1);
  execve(process.execPath, argv, env);
}

/**
 * Leave the machine's files for an empty root directory, and all system calls that unpacking does without, in all threads. Files are in
 * reach only through descriptors that the process has or is sent.
 *
 * @throws Errno for what the kernel refuses: the process must not read a layer then
 */
export function finishConfinement(): void {
  enterEmptyRoot();
  installFilter(unpackFilter(process.pid));
}

/** A root directory of our own that holds nothing but /proc/self/fd, by which descriptors have names. */
function enterEmptyRoot(): void {
  mount({ source: "none", target: "/", flags: MS_REC | MS_PRIVATE });
  const descriptors = openTree(AT_FDCWD, "/proc/self/fd", OPEN_TREE_CLONE | O_CLOEXEC);
  const context = fsopen("tmpfs");
  fsconfigOption(context, "size", "65536");
  fsconfigOption(context, "nr_inodes", "16");
  fsconfigOption(context, "mode", "0555");
  fsconfigCreate(context);
  const root = fsmount(context, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
  fs.closeSync(context);
  // Any directory will do, and this one is there.
  moveMount(root, AT_FDCWD, "/proc");
  check(syscall(NR.fchdir, root), "fchdir", "/");
  fs.closeSync(root);
  pivotRoot(".", ".");
  umount2(".", MNT_DETACH);
  fs.mkdirSync("/proc/self/fd", { recursive: true, mode: 0o555 });
  moveMount(descriptors, AT_FDCWD, "/proc/self/fd");
  fs.closeSync(descriptors);
  mountSetattr(AT_FDCWD, "/", { set: MOUNT_ATTR_RDONLY });
}

function dropCapabilities(): void {
  for (let capability = 0; ; capability++) {
    if (CAPABILITIES.includes(capability)) continue;
    const result = syscall(NR.prctl, PR_CAPBSET_DROP, capability, 0, 0, 0);
    if (result === EINVAL) break; // beyond the kernel's last one
    check(result, "prctl", `PR_CAPBSET_DROP ${capability}`);
  }
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL);
  const arena = scratch();
  const header = arena.room(8);
  arena.bytes.writeUInt32LE(CAPABILITY_VERSION_3, header);
  const data = arena.room(24); // all of the upper 32 are left out, and all that are inheritable
  const kept = CAPABILITIES.reduce((bits, capability) => bits | (1 << capability), 0) >>> 0;
  arena.bytes.writeUInt32LE(kept, data); // effective
  arena.bytes.writeUInt32LE(kept, data + 4); // permitted
  check(syscall(NR.capset, arena.base + header, arena.base + data), "capset");
}

function installFilter(filter: Buffer): void {
  const arena = scratch();
  const at = arena.room(16);
  arena.bytes.writeUInt16LE(filter.length / 8, at);
  arena.bytes.writeBigUInt64LE(BigInt(addressOf(filter)), at + 8);
  const differing = check(
    syscall(NR.seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, arena.base + at),
    "seccomp",
  );
  if (differing !== 0) throw new Error(`thread ${differing} can't have the filter`);
}
