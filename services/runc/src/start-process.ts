import type { Linux, Process, Spec } from "@longshore/oci";
import { compileFilter, type Filter } from "@longshore/seccomp";
import {
  CLONE_FILES,
  callProgram,
  close,
  EACCES,
  errnoText,
  F_SETFD,
  type Hand,
  kill,
  ownChildren,
  PR_SET_NO_NEW_PRIVS,
  PR_SET_PDEATHSIG,
  pidfdGetfd,
  pidfdOpen,
  pipe,
  programFile,
  type Slot,
  waitPid,
  writeAll,
} from "@longshore/syscalls";
import { scheduleProcess, setMemoryPolicy, setPersonality, setScheduling } from "./attributes.ts";
import {
  dropAdmin,
  joinKeyring,
  type Keyring,
  ownStreams,
  setCredentials,
  sinkOf,
  warnOfAmbient,
} from "./credentials.ts";
import { argsOf } from "./program-path.ts";
import { childOf, type Label, loadFilter, sealedProgram } from "./sealed-program.ts";
import { findListener, sendListener } from "./seccomp-listener.ts";
import { StartError } from "./start-error.ts";
import { type Terminal, useTerminal } from "./terminal.ts";
import { type Entered, enterDirectoryAsUser } from "./working-directory.ts";

export interface ProcessPlan {
  process: Process;
  environment: () => string[];
  /** The process's terminal, if it has one. */
  terminal: Terminal | undefined;
  /** What its standard input is, when that isn't ours. */
  stdin: number | undefined;
  linux: Linux;
  /** From {@link filterOf}. */
  filter: Filter | undefined;
  keyring: Keyring;
  /** Names the session keyring. */
  id: string;
  /** Descriptors 3 … 2 + n that the process keeps. */
  preserveFds: number;
  /** Read by the init process before it goes on; undefined for an exec. */
  fifoFd: number | undefined;
  /** Whether the process is to be a child of the program, in the pid namespace that the child has chosen for its children. */
  fork: boolean;
  /** Files of cgroups that only the program joins. */
  groupFds: readonly number[];
  /** A time namespace to enter. */
  timeFd: number | undefined;
  /** Whether the working directory is still to be entered. */
  cwd: Entered;
  /** Of the container, as JSON, for whoever answers for filtered calls. */
  state: () => object;
}

/** The filter of system calls that a specification asks for; compiled ones are kept below runc's root. */
export function filterOf({ linux }: Spec, root: string): Filter | undefined {
  return linux?.seccomp && compileFilter(linux.seccomp, `${root}/.seccomp`);
}

/**
 * The last steps of a process, after which the child is no longer ours to command: everything that lowers its rights, then it
 * becomes a small program which waits for `start` (init processes), and becomes the user's.
 *
 * @param path of the program, found by `findProgram`
 * @returns the pid of the process: the child's, or that of a child of its program
 */
export function becomeProcess(hand: Hand, plan: ProcessPlan, path: string): number {
  const { process, linux, filter, preserveFds, timeFd } = plan;
  const noNewPrivileges = process.noNewPrivileges === true;
  const ownUsers = linux.namespaces?.some(({ type }) => type === "user") === true;
  // A filter needs no right with no_new_privs. Otherwise the child loads it, unless it would then refuse the program its fork.
  const filterInProgram = noNewPrivileges || plan.fork;
  const keepAdmin = timeFd !== undefined || (filter !== undefined && plan.fork && !noNewPrivileges);
  const listenerInProgram = filter?.listener === true && filterInProgram;
  const scheduleLate = plan.fork && process.scheduler !== undefined;
  const gate = plan.fifoFd === undefined && (listenerInProgram || scheduleLate) ? pipe() : undefined;
  const procFd = process.apparmorProfile || process.selinuxLabel ? openProc(hand) : undefined;
  const waitFd = plan.fifoFd ?? gate?.[0];
  const program = sealedProgram({
    path,
    args: argsOf(process),
    env: plan.environment(),
    waitFd,
    filter: filterInProgram ? filter : undefined,
    filterFirst: listenerInProgram,
    labels: procFd === undefined ? undefined : { procFd, values: labelsOf(process) },
    groupFds: plan.groupFds,
    timeFd,
    dropRights: keepAdmin ? (sink, options) => dropAdmin(sink, process, options) : undefined,
    fork: plan.fork ? { terminal: plan.terminal !== undefined } : undefined,
  });
  // Before the descriptors are no longer shared, else the child doesn't have it.
  const file = programFile(program);
  if (plan.terminal) useTerminal(hand, plan.terminal.peer, { controlling: !plan.fork });
  if (plan.stdin !== undefined) {
    hand.call("unshare", [CLONE_FILES]);
    hand.call("dup3", [plan.stdin, 0, 0]);
  }

  joinKeyring(hand, plan.id, { keyring: plan.keyring, ownUsers });
  ownStreams(hand, process.user?.uid ?? 0);
  hand.call("close_range", [3 + preserveFds, 0xffffffff, 4], { about: "close-on-exec" });
  // The engine marks whatever it is started with.
  for (let fd = 3; fd < 3 + preserveFds; fd++) hand.call("fcntl", [fd, F_SETFD, 0]);
  for (const fd of [waitFd, procFd, timeFd, ...plan.groupFds]) {
    if (fd !== undefined) hand.call("fcntl", [fd, F_SETFD, 0]);
  }
  if (noNewPrivileges) hand.call("prctl", [PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0]);
  setScheduling(hand, process, { policy: !scheduleLate });
  setPersonality(hand, linux.personality);
  setMemoryPolicy(hand, linux.memoryPolicy);
  if (filter && !filterInProgram) {
    const listener = loadFilter(sinkOf(hand), filter.program, filter.flags);
    if (filter.listener) {
      hand.run();
      passListener(hand.pid, plan, hand.result(listener));
    }
  }
  const raised = setCredentials(sinkOf(hand), process, { keepAdmin, ownUsers });
  if (plan.cwd.asUser) enterDirectoryAsUser(hand, process);
  mayExecute(hand, process, path);
  hand.call("prctl", [PR_SET_PDEATHSIG, 0]);
  callProgram(hand, file, ["runc", "init"]);
  const known = plan.fork ? ownChildren() : [];
  hand.runToExec();
  warnOfAmbient(hand, raised);
  const pid = plan.fork ? childOf(hand.pid, known) : hand.pid;
  try {
    if (scheduleLate && process.scheduler) scheduleProcess(pid, process.scheduler);
    if (listenerInProgram) passListener(pid, plan, findListener(pid));
    if (gate) writeAll(gate[1], "0");
  } catch (error) {
    kill(pid, 9);
    waitPid(pid);
    throw error;
  } finally {
    for (const fd of gate ?? []) close(fd);
  }
  return pid;
}

/** Queue: find out before `start` that the user has no right to the program. */
function mayExecute(hand: Hand, process: Process, path: string): void {
  const [program] = argsOf(process);
  // With the effective ids (0x200). A filter may forbid the question: then the answer comes with the start.
  hand.call("faccessat2", [-100, hand.text(path), 1, 0x200], {
    recover: (error) => {
      if (error.errno !== EACCES) return 0;
      throw new StartError(`exec: ${JSON.stringify(program)}: ${errnoText(error.errno)}`);
    },
  });
}

function labelsOf({ apparmorProfile, selinuxLabel }: Process): Label[] {
  const labels: Label[] = [];
  if (apparmorProfile) labels.push({ file: "apparmor/exec", value: `exec ${apparmorProfile}` });
  if (selinuxLabel) labels.push({ file: "exec", value: selinuxLabel });
  return labels;
}

/** A procfs of our own making, whatever is at the container's /proc (CVE-2025-52881). */
function openProc(hand: Hand): number {
  const context = hand.call("fsopen", [hand.text("proc"), 1], { about: "proc" });
  // Nothing but processes is needed of it. Kernels before 5.8 do not know the option.
  hand.call("fsconfig", [context, 1, hand.text("subset"), hand.text("pid"), 0], { skipOnError: 0 });
  hand.call("fsconfig", [context, 6, 0, 0, 0], { about: "proc" });
  const mount: Slot = hand.call("fsmount", [context, 1, 0], { about: "proc" });
  hand.call("close", [context]);
  hand.run();
  return hand.result(mount);
}

/** Hand the listener's descriptor, which is the child's, to the agent that the specification names. */
function passListener(pid: number, plan: ProcessPlan, childFd: number): void {
  const pidfd = pidfdOpen(pid);
  const fd = pidfdGetfd(pidfd, childFd);
  close(pidfd);
  sendListener(plan.linux.seccomp, { pid, state: plan.state() }, fd);
  close(fd);
}
