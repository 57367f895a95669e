import { isErrno } from "@longshore/errors";
import { type FileSystemOptions, makeFileSystem } from "@longshore/mounts";
import {
  CallError,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUSER,
  callProgram,
  close,
  F_SETFD,
  FSCONFIG_CMD_CREATE,
  FSCONFIG_SET_FLAG,
  FSCONFIG_SET_STRING,
  fixedBuffer,
  Hand,
  ownChildren,
  PR_SET_DUMPABLE,
  pidfdGetfd,
  pidfdOpen,
  pipe,
  programFile,
  programTable,
  read,
  type Slot,
  waitPid,
} from "@longshore/syscalls";
import { becomeMappedRoot } from "./become-root.ts";
import { childOf, forkInto } from "./sealed-program.ts";

export interface ProcOptions extends FileSystemOptions {
  /** Whose processes it shows. */
  pidFd: number;
  /** Whether the child that it is for is in a user namespace of its own. */
  ownUsers: boolean;
}

/** A detached procfs of a pid namespace that the child isn't in, since it may not be seen there. */
export function makeProcOf(hand: Hand, options: ProcOptions): Slot | number {
  try {
    const made = makeFileSystem(hand, "proc", { ...options, descriptors: { pidns: options.pidFd } });
    hand.run();
    return made;
  } catch (error) {
    // Known since Linux 6.17.
    if (!isErrno(error, "EINVAL") || !(error instanceof CallError) || !error.about.includes("pidns"))
      throw error;
    return makeProcInside(hand.pid, options);
  }
}

/**
 * As {@link makeProcOf}, for kernels that mount the procfs of the pid namespace of whoever mounts it: a small program with memory of its
 * own does so.
 *
 * @param pid of a process in the mount and user namespaces by whose rules it is mounted
 * @returns a descriptor
 */
export function makeProcInside(pid: number, { pidFd, ownUsers, options, attributes }: ProcOptions): number {
  const ready = pipe();
  const done = pipe();
  const table = programTable(options.length + 24, 8192);
  const { arena } = table;
  table.add("prctl", [PR_SET_DUMPABLE, 0, 0, 0, 0], { skipOnError: 0 });
  forkInto(table, { terminal: false });
  const context = table.add("fsopen", [arena.string("proc"), 0]);
  for (const option of options) {
    const [key = "", value] = option.split(/=(.*)/s);
    const [command, at] =
      value === undefined ? [FSCONFIG_SET_FLAG, 0] : [FSCONFIG_SET_STRING, arena.string(value)];
    table.add("fsconfig", [context, command, arena.string(key), at, 0]);
  }
  table.add("fsconfig", [context, FSCONFIG_CMD_CREATE, 0, 0, 0]);
  const made = table.add("fsmount", [context, 0, attributes]);
  table.add("write", [ready[1], made.address, 8]);
  table.add("read", [done[0], arena.base + arena.room(1), 1]);
  table.add("exit_group", [0]);
  const file = programFile(table);
  const namespaces = pidfdOpen(pid);
  using maker = new Hand({ flags: 0 });
  maker.call("setns", [pidFd, CLONE_NEWPID], { about: "pid namespace" });
  maker.call("setns", [namespaces, CLONE_NEWNS + (ownUsers ? CLONE_NEWUSER : 0)], { about: "namespaces" });
  if (ownUsers) becomeMappedRoot(maker);
  maker.call("unshare", [0x400]); // CLONE_FILES
  maker.call("close_range", [3, 0xffffffff, 4]);
  for (const fd of [ready[1], done[0]]) maker.call("fcntl", [fd, F_SETFD, 0]);
  callProgram(maker, file, ["runc", "proc"]);
  const known = ownChildren();
  maker.runToExec();
  for (const fd of [file, namespaces, ready[1], done[0]]) close(fd);
  const child = childOf(maker.pid, known);
  const answer = fixedBuffer(8);
  try {
    if (read(ready[0], answer) !== 8) throw new CallError(22, "fsmount", "proc", undefined);
    const pidfd = pidfdOpen(child);
    const fd = pidfdGetfd(pidfd, Number(answer.readBigInt64LE()));
    close(pidfd);
    return fd;
  } finally {
    close(done[1]);
    close(ready[0]);
    waitPid(child);
  }
}
