import { EngineError, Errno, isErrno } from "@longshore/errors";
import type { Hook, HookName, State } from "@longshore/oci";
import {
  CLONE_FILES,
  callProgram,
  close,
  errnoText,
  F_SETFD,
  F_SETPIPE_SZ,
  fcntl,
  Hand,
  kill,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  openFile,
  ownChildren,
  pidfdOpen,
  pipe,
  programFile,
  sleepMs,
  WNOHANG,
  waitPid,
  writeAll,
} from "@longshore/syscalls";
import { becomeMappedRoot } from "./become-root.ts";
import { namespacesToJoin } from "./namespaces.ts";
import { childOf, sealedProgram } from "./sealed-program.ts";

/** Start a hook: its pid, a child of ours, which has the other end of `stdin` as its standard input. */
export type StartHook = (hook: Hook, stdin: number) => number;

/** Run hooks one after the other; the first failure ends it. */
export function runHookList(name: HookName, hooks: readonly Hook[], state: State, start: StartHook): void {
  for (const [index, hook] of hooks.entries()) {
    try {
      runHook(hook, state, start);
    } catch (error) {
      const why = error instanceof Errno ? errnoText(error.errno) : String((error as Error).message);
      throw new EngineError("internal", `error running ${name} hook #${index}: ${why}`, { cause: error });
    }
  }
}

function runHook(hook: Hook, state: State, start: StartHook): void {
  const [readEnd, writeEnd] = pipe();
  const text = Buffer.from(JSON.stringify(state));
  // All of it fits, so that a hook which doesn't read keeps nobody waiting.
  if (text.length > 65536) fcntl(writeEnd, F_SETPIPE_SZ, text.length);
  const pid = start(hook, readEnd);
  close(readEnd);
  try {
    writeAll(writeEnd, text);
  } catch (error) {
    // A hook need not read it. It must be waited for all the same: unreaped it would keep the namespace's end waiting.
    if (!isErrno(error, "EPIPE")) throw error;
  }
  close(writeEnd);
  const status = waitAtMost(pid, hook.timeout);
  if (status === undefined) {
    throw new EngineError("deadline_exceeded", `hook ran past specified timeout of ${hook.timeout}s`);
  }
  if (status !== 0) throw new EngineError("internal", `exit status ${status}`);
}

/** The status of a child; undefined when it took too long, and was killed for it. */
function waitAtMost(pid: number, seconds: number | undefined): number | undefined {
  if (seconds === undefined) return waitPid(pid)?.status;
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    const exit = waitPid(pid, WNOHANG);
    if (exit) return exit.status;
    if (performance.now() > deadline) break;
    sleepMs(5);
  }
  kill(pid, 9);
  waitPid(pid);
  return undefined;
}

/**
 * Run a container's createContainer hooks: in the namespaces of its process, whose root is still the host's. As in `exec`, what is
 * seen inside shares nothing with us.
 */
export function runCreateHooks(hooks: readonly Hook[], state: State, containerPid: number): void {
  runHookList("createContainer", hooks, state, (hook, stdin) => {
    const pidfd = pidfdOpen(containerPid);
    const { flags, users, pids, clocks } = namespacesToJoin(containerPid);
    const timeFd = clocks ? openFile(`/proc/${containerPid}/ns/time`, O_RDONLY | O_CLOEXEC) : undefined;
    // setns goes to the mount namespace's root, which is not ours, nor the container's process's, when the engine runs in a chroot.
    const root = openFile(`/proc/${containerPid}/root`, O_PATH | O_DIRECTORY | O_CLOEXEC);
    const file = programFile(
      sealedProgram({
        path: hook.path,
        args: hook.args ?? [hook.path],
        env: hook.env ?? [],
        waitFd: undefined,
        filter: undefined,
        filterFirst: false,
        labels: undefined,
        groupFds: [],
        timeFd,
        dropRights: undefined,
        fork: pids ? { terminal: false } : undefined,
      }),
    );
    using hand = new Hand({ flags: 0 });
    hand.call("setns", [pidfd, flags], { about: "namespaces" });
    hand.call("fchdir", [root], { about: "/" });
    hand.call("chroot", [hand.text(".")], { about: "/" });
    if (users) becomeMappedRoot(hand);
    // The descriptors are shared with us until here, and standard input is ours as well.
    hand.call("unshare", [CLONE_FILES]);
    hand.call("dup3", [stdin, 0, 0]);
    hand.call("close_range", [3, 0xffffffff, 4]);
    if (timeFd !== undefined) hand.call("fcntl", [timeFd, F_SETFD, 0]);
    hand.call("faccessat2", [-100, hand.text(hook.path), 1, 0x200], {
      recover: (error) => {
        throw new EngineError("not_found", `fork/exec ${hook.path}: ${errnoText(error.errno)}`);
      },
    });
    callProgram(hand, file, ["runc", "init"]);
    const known = pids ? ownChildren() : [];
    hand.runToExec();
    for (const fd of [pidfd, file, timeFd, root]) if (fd !== undefined) close(fd);
    return pids ? childOf(hand.pid, known) : hand.pid;
  });
}
