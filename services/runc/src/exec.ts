import { EngineError } from "@longshore/errors";
import { Rooted } from "@longshore/mounts";
import { type Process, parseProcess } from "@longshore/oci";
import {
  close,
  getppid,
  Hand,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  openFile,
  PR_SET_DUMPABLE,
  pidfdOpen,
  readText,
  sendFds,
} from "@longshore/syscalls";
import { checkPreservedFds, connectConsole, joinGroup, writeOomScore, writePidFile } from "./create.ts";
import { foreignNamespaces } from "./namespaces.ts";
import { savedSpec } from "./saved-spec.ts";
import {
  becomeProcess,
  enterDirectory,
  findProgram,
  openTerminal,
  reason,
  StartError,
  setLimits,
} from "./start-process.ts";
import type { Container } from "./state.ts";

export interface ExecOptions {
  container: Container;
  process: Process;
  root: string;
  pidFile: string | undefined;
  consoleSocket: string | undefined;
  preserveFds: number;
}

export interface ProcessFlags {
  processFile: string | undefined;
  args: string[];
  tty: boolean;
  cwd: string | undefined;
  env: string[];
  user: string | undefined;
  additionalGids: string[];
  capabilities: string[];
  noNewPrivileges: boolean;
}

/** An id as the command line has it: digits only (CVE-2026-30892), 31 bits (CVE-2024-40635). */
function parseId(text: string, what: string): number {
  const id = Number(text);
  if (!/^\d+$/.test(text) || id > 0x7fffffff) {
    throw new EngineError("invalid_argument", `bad ${what}: parsing ${JSON.stringify(text)}: invalid syntax`);
  }
  return id;
}

/** What is to run: a file with a process object, or the container's own process changed by flags. */
export function execProcess(container: Container, flags: ProcessFlags): Process {
  if (flags.processFile !== undefined) return parseProcess(readText(flags.processFile));
  const base = savedSpec(container).process;
  if (!base) throw new EngineError("failed_precondition", "the container has no process");
  const process: Process = { ...base, args: flags.args, terminal: flags.tty, user: { ...base.user } };
  if (flags.cwd !== undefined) process.cwd = flags.cwd;
  process.env = [...(base.env ?? []), ...flags.env];
  if (flags.capabilities.length > 0) {
    // Asked for by name they are given, but not inherited (CVE-2022-29162).
    const more = (set: string[] | undefined) => [...new Set([...(set ?? []), ...flags.capabilities])];
    const { bounding, effective, permitted, inheritable, ambient } = base.capabilities ?? {};
    process.capabilities = {
      bounding: more(bounding),
      effective: more(effective),
      permitted: more(permitted),
      inheritable: inheritable ?? [],
      ambient: ambient ?? [],
    };
  }
  if (flags.user !== undefined) {
    const [uid = "", gid] = flags.user.split(":");
    process.user = { ...process.user, uid: parseId(uid, "uid") };
    if (gid !== undefined) process.user.gid = parseId(gid, "gid");
  }
  if (flags.additionalGids.length > 0) {
    const gids = flags.additionalGids.map((gid) => parseId(gid, "gid"));
    process.user = { ...process.user, additionalGids: [...(process.user?.additionalGids ?? []), ...gids] };
  }
  if (flags.noNewPrivileges) process.noNewPrivileges = true;
  delete process.consoleSize;
  return process;
}

/**
 * Start one more process in a running container.
 *
 * @returns its pid, as we see it
 */
export function execInContainer({
  container,
  process,
  root,
  pidFile,
  consoleSocket,
  preserveFds,
}: ExecOptions): number {
  if ((process.args ?? []).length === 0) throw new EngineError("invalid_argument", "args must not be empty");
  checkPreservedFds(preserveFds);
  const { pid } = container.saved;
  const pidfd = pidfdOpen(pid);
  if (!container.alive) throw new EngineError("failed_precondition", "cannot exec in a stopped container");
  const foreign = foreignNamespaces(pid);
  const flags = foreign.reduce((sum, { type, flag }) => (type === "pid" ? sum : sum + flag), 0);
  const hasPid = foreign.some(({ type }) => type === "pid");
  const pidNamespace = hasPid ? openFile(`/proc/${pid}/ns/pid`, O_RDONLY | O_CLOEXEC) : undefined;
  // setns goes to the namespace's root, which is the host's when the engine itself runs in a chroot: the container's is its init's.
  const initRoot = foreign.some(({ type }) => type === "mount")
    ? openFile(`/proc/${pid}/root`, O_PATH | O_DIRECTORY | O_CLOEXEC)
    : undefined;
  const consoleFd = consoleSocket === undefined ? undefined : connectConsole(consoleSocket);
  const { group } = container;
  const { unifiedPath } = group;
  const cgroupFd =
    unifiedPath === undefined ? undefined : openFile(unifiedPath, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const spec = savedSpec(container);

  using hand = new Hand({ flags: 0, cgroupFd, pidNamespaceFd: pidNamespace });
  const stage = <T>(words: string, run: () => T): T => {
    try {
      return run();
    } catch (error) {
      if (error instanceof StartError || error instanceof EngineError) throw error;
      throw new StartError(`error executing setns process: ${words}: ${reason(error)}`);
    }
  };
  // Before it is seen inside: nobody there may look into it or at its executable.
  hand.call("prctl", [PR_SET_DUMPABLE, 0, 0, 0, 0]);
  hand.call("setsid", []);
  joinGroup(hand, group);
  if (flags !== 0) hand.call("setns", [pidfd, flags], { about: "namespaces" });
  if (initRoot !== undefined) {
    hand.call("fchdir", [initRoot], { about: "/" });
    hand.call("chroot", [hand.text(".")], { about: "/" });
  }
  const rootFd = hand.call("openat", [-100, hand.text("/"), O_PATH | O_DIRECTORY | O_CLOEXEC], {
    about: "/",
  });
  stage("namespaces", () => hand.run());
  writeOomScore(hand.pid, process.oomScoreAdj);
  const rooted = new Rooted(hand, rootFd);
  let terminal: ReturnType<typeof openTerminal> | undefined;
  if (consoleFd !== undefined) {
    stage("terminal", () => {
      terminal = openTerminal(rooted, process);
      hand.run();
      sendFds(consoleFd, Buffer.from("/dev/ptmx"), [hand.result(terminal.master)]);
      close(consoleFd);
    });
  }
  enterDirectory(rooted, process.cwd);
  const program = findProgram(hand, process);
  stage("process", () => {
    setLimits(hand, process, getppid());
    becomeProcess(
      hand,
      rooted,
      {
        process,
        terminal: terminal?.peer,
        seccomp: spec.linux?.seccomp,
        cacheDirectory: `${root}/.seccomp`,
        // An exec uses the keyring of the container, which its init process made.
        noNewKeyring: true,
        id: container.saved.id,
        preserveFds,
        fifoFd: undefined,
      },
      program,
    );
  });
  if (pidFile !== undefined) writePidFile(pidFile, hand.pid);
  return hand.pid;
}
