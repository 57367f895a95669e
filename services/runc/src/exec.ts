import { Group, type GroupDirectory } from "@longshore/cgroups";
import { EngineError } from "@longshore/errors";
import { Rooted } from "@longshore/mounts";
import { type Process, parseProcess, type Spec } from "@longshore/oci";
import {
  CallError,
  close,
  exists,
  getppid,
  Hand,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  O_WRONLY,
  openFile,
  PR_SET_DUMPABLE,
  pidfdOpen,
  prctl,
  readText,
  sendFds,
} from "@longshore/syscalls";
import { setFinalAffinity, setInitialAffinity } from "./attributes.ts";
import { becomeMappedRoot } from "./become-root.ts";
import { setLimits } from "./credentials.ts";
import { prepareEnvironment } from "./environment.ts";
import { namespacesToJoin } from "./namespaces.ts";
import {
  checkPreservedFds,
  checkProcess,
  connectConsole,
  type Foreground,
  joinGroup,
  sendPidfd,
  writeOomScore,
  writePidFile,
} from "./process-setup.ts";
import { argsOf, findProgram } from "./program-path.ts";
import { reason, StartError } from "./start-error.ts";
import { becomeProcess, filterOf } from "./start-process.ts";
import { type Container, ociState } from "./state.ts";
import { openTerminal, type Terminal } from "./terminal.ts";
import { enterDirectory } from "./working-directory.ts";

export interface ExecOptions {
  container: Container;
  /** That the container was made from. */
  spec: Spec;
  process: Process;
  root: string;
  pidFile: string | undefined;
  consoleSocket: string | undefined;
  pidfdSocket: string | undefined;
  /** The caller, when it stays. */
  foreground: Foreground | undefined;
  preserveFds: number;
  /** The program, when its path is not the first of the args. */
  programPath?: string;
  /** A descriptor that becomes the standard input. */
  stdin?: number;
  /** Directories below those of the container, by controller; "" is all of them. */
  subgroups: ReadonlyMap<string, string>;
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
  apparmor: string | undefined;
  label: string | undefined;
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
export function execProcess(spec: Spec, flags: ProcessFlags): Process {
  if (flags.processFile !== undefined) return parseProcess(readProcessFile(flags.processFile));
  const base = spec.process;
  if (!base) throw new EngineError("failed_precondition", "the container has no process");
  const process: Process = { ...base, args: flags.args, terminal: flags.tty, user: { ...base.user } };
  if (flags.cwd) process.cwd = flags.cwd;
  process.env = [...(base.env ?? []), ...flags.env];
  if (flags.capabilities.length > 0) {
    // Asked for by name they are given, but not inherited (CVE-2022-29162); ambient only where some are inherited already.
    const more = (set: string[] | undefined) => [...new Set([...(set ?? []), ...flags.capabilities])];
    const { bounding, effective, permitted, inheritable, ambient } = base.capabilities ?? {};
    process.capabilities = {
      bounding: more(bounding),
      effective: more(effective),
      permitted: more(permitted),
      inheritable: inheritable ?? [],
      ambient: inheritable === undefined ? (ambient ?? []) : more(ambient),
    };
  }
  if (flags.user) {
    const [uid = "", gid, ...more] = flags.user.split(":");
    if (more.length > 0) throw new EngineError("invalid_argument", `bad user: ${JSON.stringify(flags.user)}`);
    if (gid !== undefined) process.user = { ...process.user, gid: parseId(gid, "gid") };
    process.user = { ...process.user, uid: parseId(uid, "uid") };
  }
  if (flags.additionalGids.length > 0) {
    const gids = flags.additionalGids.map((gid) => parseId(gid, "additional-gids"));
    process.user = { ...process.user, additionalGids: [...(process.user?.additionalGids ?? []), ...gids] };
  }
  if (flags.noNewPrivileges) process.noNewPrivileges = true;
  if (flags.apparmor) process.apparmorProfile = flags.apparmor;
  if (flags.label) process.selinuxLabel = flags.label;
  return process;
}

function readProcessFile(path: string): string {
  try {
    return readText(path);
  } catch (error) {
    throw new EngineError("not_found", `open ${path}: ${reason(error)}`, { cause: error });
  }
}

/**
 * Where `--cgroup` wants the process: `path`, or `controller[,controller…]:path`, in the original's rules.
 *
 * @returns paths by controller; "" is all
 */
export function parseSubgroups(flags: readonly string[]): Map<string, string> {
  const paths = new Map<string, string>();
  const refuse = (why: string): never => {
    throw new EngineError("invalid_argument", why);
  };
  for (const flag of flags) {
    const colon = flag.indexOf(":");
    if (colon < 0) {
      if (flags.length !== 1) refuse(`invalid --cgroup argument: ${flag} (missing <controller>: prefix)`);
      paths.set("", flag);
      continue;
    }
    for (const controller of flag.slice(0, colon).split(",")) {
      if (controller === "") refuse(`invalid --cgroup argument: ${flag} (empty <controller> prefix)`);
      if (paths.has(controller)) {
        refuse(`invalid --cgroup argument(s): controller ${controller} specified multiple times`);
      }
      paths.set(controller, flag.slice(colon + 1));
    }
  }
  return paths;
}

/** The container's group with the directories that `--cgroup` names; they must be there. */
function subgroup(group: Group, paths: ReadonlyMap<string, string>): Group {
  if (paths.size === 0) return group;
  for (const controller of paths.keys()) {
    const known = group.directories.some(({ controllers }) =>
      controllers.some((name) => name.replace("name=", "") === controller.replace("name=", "")),
    );
    if (controller !== "" && !known) {
      throw new EngineError("invalid_argument", `unknown controller ${controller} in SubCgroupPaths`);
    }
  }
  const below = ({ path, controllers, version }: GroupDirectory): GroupDirectory => {
    const named = controllers.find((name) => paths.has(name) || paths.has(name.replace("name=", "")));
    const sub = paths.get("") ?? (named && (paths.get(named) ?? paths.get(named.replace("name=", ""))));
    if (sub === undefined) return { path, controllers, version };
    const joined = normalize(`${path}/${sub}`);
    if (joined !== path && !joined.startsWith(`${path}/`)) {
      throw new EngineError("invalid_argument", `bad sub cgroup path: ${sub}`);
    }
    return { path: joined, controllers, version };
  };
  return new Group(group.directories.map(below));
}

/** A path without `.`, `..` and empty parts. */
function normalize(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

/**
 * Start one more process in a running container.
 *
 * @returns its pid, as we see it
 */
export function execInContainer(options: ExecOptions): number {
  const { container, spec, process, preserveFds } = options;
  checkProcess(process, { ...options, linux: spec.linux });
  checkPreservedFds(preserveFds);
  const { pid } = container.saved;
  const pidfd = pidfdOpen(pid);
  if (!container.alive) throw new EngineError("failed_precondition", "cannot exec in a stopped container");
  const { flags, users, mounts, pids, clocks } = namespacesToJoin(pid);
  const timeFd = clocks ? openFile(`/proc/${pid}/ns/time`, O_RDONLY | O_CLOEXEC) : undefined;
  // setns goes to the namespace's root, which is the host's when the engine itself runs in a chroot: the container's is its init's.
  const initRoot = mounts ? openFile(`/proc/${pid}/root`, O_PATH | O_DIRECTORY | O_CLOEXEC) : undefined;
  const consoleFd = options.consoleSocket === undefined ? undefined : connectConsole(options.consoleSocket);
  const group = subgroup(container.group, options.subgroups);
  const groups = openGroups(group, pid, options.subgroups.size > 0);
  // The child shares our memory, which nobody may look into.
  prctl(PR_SET_DUMPABLE, 0);
  using hand = new Hand({ flags: 0, cgroupFd: groups.unified });
  const stage = <T>(words: string, run: () => T): T => {
    try {
      return run();
    } catch (error) {
      if (error instanceof StartError || error instanceof EngineError) throw error;
      if (error instanceof CallError && error.wording) throw new StartError(error.wording(error));
      throw new StartError(`error executing setns process: ${words}: ${reason(error)}`);
    }
  };
  hand.calls.wording = (error) => `error executing setns process: ${error.message}`;
  hand.call("setsid", []);
  setInitialAffinity(hand, process.execCPUAffinity);
  joinGroup(hand, new Group(group.directories.filter((one) => one !== groups.late)));
  setFinalAffinity(hand, process.execCPUAffinity);
  // As for the pid namespace, that counts for its children only: it stays outside.
  hand.call("setns", [pidfd, flags], { about: "namespaces" });
  if (users) becomeMappedRoot(hand);
  if (initRoot !== undefined) {
    hand.call("fchdir", [initRoot], { about: "/" });
    hand.call("chroot", [hand.text(".")], { about: "/" });
  }
  const rootFd = hand.call("openat", [-100, hand.text("/"), O_PATH | O_DIRECTORY | O_CLOEXEC], {
    about: "/",
  });
  // The groups take their time, which is ours as well.
  hand.begin();
  options.foreground?.prepare(process.terminal === true);
  hand.calls.wording = undefined;
  const filter = stage("process", () => filterOf(spec, options.root));
  writeOomScore(hand.pid, process.oomScoreAdj);
  const rooted = new Rooted(hand, rootFd);
  let terminal: Terminal | undefined;
  if (process.terminal === true) {
    stage("terminal", () => {
      terminal = openTerminal(rooted, process);
      hand.run();
      const master = hand.result(terminal.master);
      options.foreground?.serve(master);
      if (consoleFd === undefined) return;
      sendFds(consoleFd, Buffer.from("/dev/ptmx"), [master]);
      close(consoleFd);
    });
  }
  const cwd = enterDirectory(rooted, process);
  const environment = prepareEnvironment(rooted, process);
  const program = stage("program", () =>
    findProgram(hand, options.programPath ?? argsOf(process)[0], process.env),
  );
  const started = stage("process", () => {
    setLimits(hand, process, getppid());
    return becomeProcess(
      hand,
      {
        process,
        environment,
        terminal,
        stdin: options.stdin,
        linux: spec.linux ?? {},
        filter,
        keyring: container.saved.noNewKeyring ? "none" : "join",
        id: container.saved.id,
        preserveFds,
        fifoFd: undefined,
        fork: pids,
        groupFds: groups.lateFds,
        timeFd,
        cwd,
        state: () => ociState(container.saved, "running"),
      },
      program,
    );
  });
  if (options.pidfdSocket !== undefined) sendPidfd(options.pidfdSocket, started, "setns");
  if (options.pidFile !== undefined) writePidFile(options.pidFile, started);
  return started;
}

interface GroupFiles {
  /** The directory in v2 to be born in, where that counts no memory. */
  unified: number | undefined;
  /** Where memory is counted, which only the small program joins. */
  late: GroupDirectory | undefined;
  lateFds: number[];
}

/**
 * Open what the process joins. The child joins the groups of v1 at once, devices among them, before it opens
 * anything of the container: a device that the container may not use can't be opened in its name. Only what
 * counts memory is joined by the small program that the child becomes: until then it shares the memory of the
 * runtime, and the container's OOM killer would take the runtime with it. On v2 that is the one group, so there
 * the device filter doesn't hold for the child yet: it opens nothing but regular files and /dev/ptmx, each
 * after its type was looked at (reopen.ts).
 */
function openGroups(group: Group, pid: number, asked: boolean): GroupFiles {
  const open = (path: string, flags: number) => {
    try {
      return openFile(path, flags | O_CLOEXEC);
    } catch (error) {
      throw new StartError(`error adding pid to cgroups: openat ${path}: ${reason(error)}`);
    }
  };
  const { unifiedPath } = group;
  if (group.unified) {
    const path = unifiedPath && livingGroup(unifiedPath, pid, asked);
    return {
      unified: undefined,
      late: undefined,
      lateFds: path === undefined ? [] : [open(`${path}/cgroup.procs`, O_WRONLY)],
    };
  }
  const late = group.directories.find(({ controllers }) => controllers.includes("memory"));
  return {
    unified: unifiedPath === undefined ? undefined : open(unifiedPath, O_RDONLY | O_DIRECTORY),
    late,
    lateFds: late === undefined ? [] : [open(`${late.path}/tasks`, O_WRONLY)],
  };
}

/** The container's group or, when it has gone, that of its init, which may have moved itself. */
function livingGroup(path: string, pid: number, asked: boolean): string {
  if (asked || exists(path)) return path;
  const line = readText(`/proc/${pid}/cgroup`).match(/^0::(.*)$/m);
  return `/sys/fs/cgroup${line?.[1] ?? ""}`;
}
