import { checkRdt, type Group, joinRdt, leaveRdt } from "@longshore/cgroups";
import { EngineError } from "@longshore/errors";
import type { Rooted } from "@longshore/mounts";
import { parseSpec, type Spec } from "@longshore/oci";
import {
  CallError,
  close,
  exists,
  Fd,
  getppid,
  Hand,
  mknod,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  openFile,
  PR_SET_DUMPABLE,
  readlink,
  readText,
  S_IFIFO,
  sendFds,
  writeControl,
  writeFile,
} from "@longshore/syscalls";
import { setFinalAffinity } from "./attributes.ts";
import { type ContainerGroup, planContainerGroup } from "./container-group.ts";
import { setLimits } from "./credentials.ts";
import { delegateGroup } from "./delegate-group.ts";
import { prepareEnvironment } from "./environment.ts";
import { runHooks, runHooksToTheEnd } from "./hooks.ts";
import { runCreateHooks } from "./hooks-in-container.ts";
import { type NamespacePlan, planNamespaces } from "./namespaces.ts";
import { checkNetDevices, moveNetDevices } from "./network-devices.ts";
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
import { removeGroup } from "./remove-group.ts";
import { buildRootfs, checkMounts, enterRoot } from "./rootfs.ts";
import { cleanDestination, type RootfsPlan } from "./rootfs-plan.ts";
import { checkNamespaces, settleNamespaces, userMappings } from "./settle-namespaces.ts";
import { reason, StartError } from "./start-error.ts";
import { becomeProcess, filterOf } from "./start-process.ts";
import { Container, ociState, processStat, removeDirectory, type SavedState, saveState } from "./state.ts";
import { checkSysctls } from "./sysctls.ts";
import { openTerminal, type Terminal } from "./terminal.ts";
import { enterDirectory } from "./working-directory.ts";

export interface CreateOptions {
  root: string;
  systemdCgroup: boolean;
  id: string;
  /** Absolute. */
  bundle: string;
  pidFile: string | undefined;
  consoleSocket: string | undefined;
  /** Gets a descriptor of the init process. */
  pidfdSocket: string | undefined;
  /** The caller, when it stays and serves the terminal, if there is one, itself. */
  foreground: Foreground | undefined;
  noPivot: boolean;
  noNewKeyring: boolean;
  /** Of socket activation, 3 … 2 + n; told to the process in LISTEN_FDS. */
  listenFds: number;
  /** After those. */
  preserveFds: number;
}

/** The specification of a bundle. */
export function loadSpec(bundle: string): { spec: Spec; text: string } {
  let text: string;
  try {
    text = readText(`${bundle}/config.json`);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") {
      const words = exists(bundle)
        ? "JSON specification file config.json not found"
        : `chdir ${bundle}: no such file or directory`;
      throw new EngineError("not_found", words, { cause: error });
    }
    throw error;
  }
  const spec = parseSpec(text);
  // What is kept is read without a check, which takes away what is null.
  return { spec, text: text.includes("null") ? JSON.stringify(spec) : text };
}

/** Queue: the names of a new uts namespace. */
function setNames(hand: Hand, spec: Spec): void {
  const set = (call: "sethostname" | "setdomainname", name: string | undefined) => {
    if (name === undefined || name === "") return;
    hand.call(call, [hand.text(name), Buffer.byteLength(name)], { about: name });
  };
  set("sethostname", spec.hostname);
  set("setdomainname", spec.domainname);
}

/**
 * Make a container and leave it waiting for `start`. On failure nothing of it remains.
 *
 * @returns the pid of its init process
 */
export function createContainer(options: CreateOptions): number {
  const { root, id, bundle } = options;
  const { spec, text } = loadSpec(bundle);
  const { process } = spec;
  if (!process) throw new EngineError("invalid_argument", "process property must not be empty");
  checkProcess(process, { ...options, linux: spec.linux });
  if (!spec.root) throw new EngineError("invalid_argument", "root property must not be empty");
  checkPreservedFds(options.preserveFds, options.listenFds);
  if (options.listenFds > 0) {
    process.env = [...(process.env ?? []), `LISTEN_FDS=${options.listenFds}`, "LISTEN_PID=1"];
  }
  const mounts = checkMounts(spec, options.noPivot);
  const namespaces = planNamespaces(spec);
  checkNamespaces(spec, namespaces);
  if (spec.linux?.sysctl) checkSysctls(spec, namespaces);
  if (spec.linux?.netDevices) checkNetDevices(spec.linux.netDevices, namespaces);
  const mappings = userMappings(namespaces);
  options.foreground?.prepare(process.terminal === true);
  if (spec.linux?.intelRdt) checkRdt(spec.linux.intelRdt);
  const directory = Container.claim(root, id);
  const undo: (() => void)[] = [() => removeDirectory(directory)];
  try {
    const path = spec.root.path;
    const rootfs = cleanDestination(path.startsWith("/") ? path : `${realPath(bundle)}/${path}`);
    writeFile(`${directory}/config.json`, text, { mode: 0o600 });
    const planned = planContainerGroup(spec, { id, throughSystemd: options.systemdCgroup });
    const { group } = planned;
    undo.push(() => removeGroup(group));
    const plan: RootfsPlan = {
      spec,
      mounts,
      rootfs,
      bundle,
      group,
      ownCgroupNamespace: namespaces.all.has("cgroup"),
      noPivot: options.noPivot,
      porter: undefined,
      mappings,
      pidFd: namespaces.pidFd,
      bindDevices: mappings !== undefined,
    };
    const saved: SavedState = {
      id,
      bundle,
      pid: 0,
      startTime: "",
      created: new Date().toISOString(),
      rootfs,
      group: group.directories,
      ...(group.unit === undefined ? {} : { unit: group.unit }),
      ociVersion: spec.ociVersion,
      hooks: spec.hooks ?? {},
      annotations: spec.annotations ?? {},
      ownPidNamespace: namespaces.own.has("pid"),
      noNewKeyring: options.noNewKeyring,
    };
    // Before anything is made that `delete --force` would have to find.
    saveState(directory, saved);
    // A container that goes again has its last hooks run after everything (runtime.md, lifecycle), whatever it was that failed.
    undo.unshift(() => runHooksToTheEnd(spec.hooks, "poststop", ociState(saved, "stopped")));
    planned.make();
    if (namespaces.newCgroup) delegateGroup(plan);
    return startInit({ options, spec, process, namespaces, directory, planned, plan, saved, undo });
  } catch (error) {
    for (const step of undo.reverse()) step();
    throw error;
  }
}

interface InitPlan {
  options: CreateOptions;
  spec: Spec;
  process: NonNullable<Spec["process"]>;
  namespaces: NamespacePlan;
  directory: string;
  planned: ContainerGroup;
  plan: RootfsPlan;
  saved: SavedState;
  undo: (() => void)[];
}

function startInit(init: InitPlan): number {
  const { options, spec, process, namespaces, directory, planned, plan, saved, undo } = init;
  const { group } = planned;
  const fifo = `${directory}/exec.fifo`;
  mknod(fifo, S_IFIFO | 0o600);
  const fifoFd = openFile(fifo, O_RDWR | O_CLOEXEC);
  const consoleFd = options.consoleSocket === undefined ? undefined : connectConsole(options.consoleSocket);
  const { unifiedPath } = group;
  const cgroupFd =
    unifiedPath === undefined || group.unit !== undefined
      ? undefined
      : openFile(unifiedPath, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

  using hand = new Hand({
    flags: namespaces.cloneFlags,
    cgroupFd,
    enter: namespaces.entered,
    maxCalls: callsFor(spec),
  });
  undo.push(() => {
    hand[Symbol.dispose]();
    group.killAll();
  });
  saved.pid = hand.pid;
  if (spec.linux?.intelRdt) {
    const rdt = joinRdt(spec.linux.intelRdt, { id: options.id, pid: hand.pid });
    saved.intelRdt = rdt;
    undo.push(() => leaveRdt(rdt));
  }
  saved.startTime = processStat(hand.pid)?.startTime ?? "";
  saveState(directory, saved);
  planned.enter(hand.pid);

  const stage = <T>(words: string, run: () => T): T => {
    try {
      return run();
    } catch (error) {
      if (error instanceof StartError || error instanceof EngineError) throw error;
      if (error instanceof CallError && error.wording) {
        throw new StartError(`error during container init: ${error.wording(error)}`);
      }
      const about =
        error instanceof Error && "syscall" in error ? error.message.replace(/: E\w+$/, "") : words;
      throw new StartError(`error during container init: ${words}: ${about}: ${reason(error)}`);
    }
  };

  hand.call("prctl", [PR_SET_DUMPABLE, 0, 0, 0, 0]);
  hand.call("setsid", []);
  hand.call("umask", [0]);
  if (namespaces.entered.some(({ type }) => type === "mount")) joinGroupFromHere(group, hand.pid);
  else joinGroup(hand, group);
  using porter = stage("namespaces", () => settleNamespaces(hand, namespaces, spec));
  plan.porter = porter;
  if (spec.linux?.netDevices) {
    stage("namespaces", () => hand.run());
    moveNetDevices(spec.linux.netDevices, hand.pid);
  }
  const creating = ociState(saved, "creating");
  const { hooks } = spec;
  const early = (hooks?.prestart?.length ?? 0) + (hooks?.createRuntime?.length ?? 0) > 0;
  const late = (hooks?.createContainer?.length ?? 0) > 0;
  if (early) {
    stage("namespaces", () => hand.run());
    runHooks(hooks, "prestart", creating);
    runHooks(hooks, "createRuntime", creating);
  }
  const made = stage("rootfs", () => buildRootfs(hand, plan));
  const { rooted } = made;
  // While the child makes mounts.
  const filter = stage("error starting the process", () => filterOf(spec, options.root));
  if (late) {
    stage("rootfs", () => hand.run());
    runCreateHooks(hooks?.createContainer ?? [], creating, hand.pid);
  }
  stage("rootfs", () => {
    setNames(hand, spec);
    enterRoot(hand, made, plan);
  });
  writeOomScore(hand.pid, process.oomScoreAdj);
  let terminal: Terminal | undefined;
  if (process.terminal === true) {
    stage("error setting up the terminal", () => {
      terminal = openTerminal(rooted, process);
      bindConsole(rooted, terminal.peer);
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
  const program = findProgram(hand, argsOf(process)[0], process.env);
  const pid = stage("error starting the process", () => {
    setFinalAffinity(hand);
    setLimits(hand, process, getppid());
    return becomeProcess(
      hand,
      {
        process,
        environment,
        terminal,
        stdin: undefined,
        linux: spec.linux ?? {},
        filter,
        keyring: options.noNewKeyring ? "none" : "new",
        id: options.id,
        preserveFds: options.listenFds + options.preserveFds,
        fifoFd,
        fork: namespaces.pidFd !== undefined,
        groupFds: [],
        timeFd: namespaces.timeFd,
        cwd,
        state: () => ociState(saved, "creating"),
      },
      program,
    );
  });
  planned.limitMemory(pid);
  if (pid !== saved.pid) {
    saved.pid = pid;
    saved.startTime = processStat(pid)?.startTime ?? "";
    saveState(directory, saved);
  }
  if (options.pidfdSocket !== undefined) sendPidfd(options.pidfdSocket, pid, "standard");
  if (options.pidFile !== undefined) writePidFile(options.pidFile, pid);
  return pid;
}

/** At most so many calls make a container; a mount or a mask takes a dozen, one in a place to be made some for each part of its path. */
function callsFor({ mounts = [], linux = {} }: Spec): number {
  const { devices = [], maskedPaths = [], readonlyPaths = [] } = linux;
  return 1536 + 64 * mounts.length + 16 * (devices.length + maskedPaths.length + readonlyPaths.length);
}

/** Into the cgroup, for a child that is where it doesn't see the hierarchies. */
function joinGroupFromHere(group: Group, pid: number): void {
  for (const { version, path } of group.directories) {
    if (version === 1) writeControl(`${path}/cgroup.procs`, String(pid));
  }
}

/** A directory's path without links. */
function realPath(directory: string): string {
  using fd = new Fd(openFile(directory, O_PATH | O_DIRECTORY | O_CLOEXEC));
  return readlink(`/proc/self/fd/${fd.number}`);
}

/** Queue: /dev/console is the terminal, bound by its descriptor (CVE-2025-52565). */
function bindConsole(rooted: Rooted, peer: Terminal["peer"]): void {
  const { hand } = rooted;
  const none = hand.text("");
  const copy = hand.call("open_tree", [peer, none, 1 | O_CLOEXEC | 0x1000], { about: "/dev/console" });
  const target = rooted.openOrMake("/dev/console", "file");
  hand.call("move_mount", [copy, none, target, none, 0x44], { about: "/dev/console" });
  hand.call("close", [copy]);
  rooted.close(target);
}
