import { EngineError, isErrno } from "@longshore/errors";
import type { Hooks, State } from "@longshore/oci";
import {
  close,
  Hand,
  ignoredSignals,
  NR,
  O_CLOEXEC,
  O_RDONLY,
  openFile,
  pidfdOpen,
  pipe,
  sleepMs,
  syscall,
  WNOHANG,
  waitPid,
  writeAll,
} from "@longshore/syscalls";
import { becomeMappedRoot } from "./become-root.ts";
import { foreignNamespaces } from "./namespaces.ts";

/**
 * Run hooks in the namespaces of a container's process, as createContainer and startContainer ask. createContainer's root is still
 * the host's at that time, startContainer's is the container's.
 */
export function runHooksInContainer(
  hooks: Hooks | undefined,
  name: "createContainer" | "startContainer",
  state: State,
  pid: number,
): void {
  for (const [index, hook] of (hooks?.[name] ?? []).entries()) {
    const fail = (why: string): never => {
      throw new EngineError("internal", `error running ${name} hook #${index}: ${why}`);
    };
    const pidfd = pidfdOpen(pid);
    const foreign = foreignNamespaces(pid);
    // A time namespace takes only processes with memory of their own.
    const flags = foreign.reduce(
      (sum, { type, flag }) => (type === "pid" || type === "time" ? sum : sum + flag),
      0,
    );
    const hasPid = foreign.some(({ type }) => type === "pid");
    const pidNamespace = hasPid ? openFile(`/proc/${pid}/ns/pid`, O_RDONLY | O_CLOEXEC) : undefined;
    const [readEnd, writeEnd] = pipe();
    using hand = new Hand({ flags: 0, pidNamespaceFd: pidNamespace });
    if (flags !== 0) hand.call("setns", [pidfd, flags], { about: "namespaces" });
    if (foreign.some(({ type }) => type === "user")) becomeMappedRoot(hand);
    // The descriptors are shared with us until here, and standard input is ours as well.
    hand.call("unshare", [0x400]);
    hand.call("dup3", [readEnd, 0, 0]);
    hand.call("close_range", [3, 0xffffffff, 4]);
    const { arena } = hand.calls;
    const action = arena.base + arena.room(32);
    for (const signal of ignoredSignals())
      hand.call("rt_sigaction", [signal, action, 0, 8], { skipOnError: 0 });
    hand.call("rt_sigprocmask", [2, arena.base + arena.room(8), 0, 8]);
    hand.call(
      "execve",
      [hand.text(hook.path), arena.vector(hook.args ?? [hook.path]), arena.vector(hook.env ?? [])],
      {
        about: hook.path,
      },
    );
    try {
      hand.runToExec();
    } catch (error) {
      fail(error instanceof Error ? error.message : String(error));
    }
    close(readEnd);
    try {
      writeAll(writeEnd, JSON.stringify(state));
    } catch (error) {
      // A hook need not read it. It must be waited for all the same: unreaped it would keep the namespace's end waiting.
      if (!isErrno(error, "EPIPE")) throw error;
    }
    close(writeEnd);
    close(pidfd);
    if (pidNamespace !== undefined) close(pidNamespace);
    const deadline = hook.timeout === undefined ? undefined : Date.now() + hook.timeout * 1000;
    let exit = waitPid(hand.pid, deadline === undefined ? 0 : WNOHANG);
    while (!exit) {
      if (deadline !== undefined && Date.now() > deadline) {
        syscall(NR.kill, hand.pid, 9);
        waitPid(hand.pid);
        fail(`hook ran past specified timeout of ${hook.timeout}s`);
      }
      sleepMs(5);
      exit = waitPid(hand.pid, WNOHANG);
    }
    if (exit.status !== 0) fail(`exit status ${exit.status}`);
  }
}
