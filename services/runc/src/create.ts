import { applyResources, checkRdt, createGroup, type Group, joinRdt, leaveRdt } from "@longshore/cgroups";
import { EngineError } from "@longshore/errors";
import type { Rooted } from "@longshore/mounts";
import { parseSpec, type Spec } from "@longshore/oci";
import {
  CLONE_NEWCGROUP,
  close,
  getppid,
  Hand,
  mknod,
  O_CLOEXEC,
  O_DIRECTORY,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  openFile,
  PR_SET_DUMPABLE,
  readText,
  S_IFIFO,
  sendFds,
  writeFile,
} from "@longshore/syscalls";
import { deviceRules } from "./devices.ts";
import { runHooks } from "./hooks.ts";
import { runHooksInContainer } from "./hooks-in-container.ts";
import { log } from "./log.ts";
import { type NamespacePlan, planNamespaces } from "./namespaces.ts";
import {
  type Created,
  checkPreservedFds,
  checkProcess,
  connectConsole,
  type Foreground,
  joinGroup,
  sendPidfd,
  writeOomScore,
  writePidFile,
} from "./process-setup.ts";
import { buildRootfs, enterRoot, type RootfsPlan } from "./rootfs.ts";
import {
  becomeProcess,
  enterDirectory,
  findProgram,
  openTerminal,
  reason,
  StartError,
  setLimits,
} from "./start-process.ts";
import { Container, ociState, processStat, removeDirectory, type SavedState, saveState } from "./state.ts";

export interface CreateOptions {
  root: string;
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
      throw new EngineError("not_found", "JSON specification file config.json not found", { cause: error });
    }
    throw error;
  }
  return { spec: parseSpec(text), text };
}

/** Queue: the loopback interface of a new network namespace is up. */
function loopbackUp(hand: Hand): void {
  const fd = hand.call("socket", [2, 2 | O_CLOEXEC, 0]);
  const request = hand.calls.arena.room(40);
  hand.calls.arena.bytes.write("lo", request);
  hand.calls.arena.bytes.writeUInt16LE(1, request + 16); // IFF_UP
  hand.call("ioctl", [fd, 0x8914, hand.calls.arena.base + request], { about: "lo", skipOnError: 0 });
  hand.call("close", [fd]);
}

function setNames(hand: Hand, spec: Spec): void {
  const set = (call: "sethostname" | "setdomainname", name: string | undefined) => {
    if (name === undefined || name === "") return;
    hand.call(call, [hand.text(name), Buffer.byteLength(name)], { about: name });
  };
  set("sethostname", spec.hostname);
  set("setdomainname", spec.domainname);
}

/** Queue: kernel settings, written into a procfs of our own making, whatever is at the container's /proc (CVE-2025-52881). */
function setSysctls(hand: Hand, spec: Spec): void {
  const entries = Object.entries(spec.linux?.sysctl ?? {});
  if (entries.length === 0) return;
  const { arena } = hand.calls;
  const context = hand.call("fsopen", [hand.text("proc"), 1], { about: "proc" });
  hand.call("fsconfig", [context, 6, 0, 0, 0], { about: "proc" });
  const proc = hand.call("fsmount", [context, 1, 0], { about: "proc" });
  for (const [key, value] of entries) {
    // Dots part the names unless slashes do, as sysctl(8).
    const slash = key.indexOf("/");
    const dot = key.indexOf(".");
    const path =
      slash >= 0 && (dot < 0 || slash < dot) ? key : key.replaceAll(/[./]/g, (c) => (c === "." ? "/" : "."));
    const how = arena.room(24);
    arena.bytes.writeBigUInt64LE(BigInt(O_WRONLY | O_CLOEXEC), how);
    arena.bytes.writeBigUInt64LE(0x0dn, how + 16); // NO_XDEV, NO_SYMLINKS, BENEATH
    const fd = hand.call("openat2", [proc, hand.text(`sys/${path}`), arena.base + how, 24], {
      about: `sysctl ${key}`,
    });
    hand.call("write", [fd, hand.text(value), Buffer.byteLength(value)], { about: `sysctl ${key}` });
    hand.call("close", [fd]);
  }
  hand.call("close", [proc]);
  hand.call("close", [context]);
}

/** Make a container and leave it waiting for `start`. On failure nothing of it remains. */
export function createContainer(options: CreateOptions): Created {
  const { root, id, bundle } = options;
  const { spec, text } = loadSpec(bundle);
  const { process } = spec;
  if (!process) throw new EngineError("invalid_argument", "process property must not be empty");
  checkProcess(process, options);
  if (!spec.root) throw new EngineError("invalid_argument", "root property must not be empty");
  checkPreservedFds(options.preserveFds, options.listenFds);
  if (options.listenFds > 0) {
    process.env = [...(process.env ?? []), `LISTEN_FDS=${options.listenFds}`, "LISTEN_PID=1"];
  }
  const namespaces = planNamespaces(spec);
  options.foreground?.prepare(process.terminal === true);
  if (spec.linux?.intelRdt) checkRdt(spec.linux.intelRdt);
  const directory = Container.claim(root, id);
  const undo: (() => void)[] = [() => removeDirectory(directory)];
  try {
    const path = spec.root.path;
    const rootfs = path.startsWith("/") ? path : `${bundle}/${path}`;
    writeFile(`${directory}/config.json`, text, { mode: 0o600 });
    const group = createGroup(spec.linux?.cgroupsPath || id);
    undo.push(() => group.remove());
    const plan: RootfsPlan = {
      spec,
      rootfs,
      bundle,
      group,
      ownCgroupNamespace: namespaces.newCgroup,
      noPivot: options.noPivot,
    };
    const saved: SavedState = {
      id,
      bundle,
      pid: 0,
      startTime: "",
      created: new Date().toISOString(),
      rootfs,
      group: group.directories,
      ociVersion: spec.ociVersion,
      hooks: spec.hooks ?? {},
      annotations: spec.annotations ?? {},
      ownPidNamespace: namespaces.own.has("pid"),
    };
    saveState(directory, saved);
    const resources = { ...spec.linux?.resources, devices: deviceRules(spec) };
    for (const words of applyResources(group, resources)) log("warning", words);
    return startInit({ options, spec, process, namespaces, directory, group, plan, saved, undo });
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
  group: Group;
  plan: RootfsPlan;
  saved: SavedState;
  undo: (() => void)[];
}

function startInit(init: InitPlan): Created {
  const { options, spec, process, namespaces, directory, group, plan, saved, undo } = init;
  const fifo = `${directory}/exec.fifo`;
  mknod(fifo, S_IFIFO | 0o600);
  const fifoFd = openFile(fifo, O_RDWR | O_CLOEXEC);
  const consoleFd = options.consoleSocket === undefined ? undefined : connectConsole(options.consoleSocket);
  const { unifiedPath } = group;
  const cgroupFd =
    unifiedPath === undefined ? undefined : openFile(unifiedPath, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

  using hand = new Hand({ flags: namespaces.cloneFlags, cgroupFd, pidNamespaceFd: namespaces.pidFd });
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

  const stage = <T>(words: string, run: () => T): T => {
    try {
      return run();
    } catch (error) {
      if (error instanceof StartError || error instanceof EngineError) throw error;
      const about =
        error instanceof Error && "syscall" in error ? error.message.replace(/: E\w+$/, "") : words;
      throw new StartError(`error during container init: ${words}: ${about}: ${reason(error)}`);
    }
  };

  hand.call("prctl", [PR_SET_DUMPABLE, 0, 0, 0, 0]);
  hand.call("setsid", []);
  hand.call("umask", [0]);
  joinGroup(hand, group);
  for (const { type, fd, flag } of namespaces.joined)
    hand.call("setns", [fd, flag], { about: `${type} namespace` });
  if (namespaces.newCgroup) hand.call("unshare", [CLONE_NEWCGROUP], { about: "cgroup namespace" });
  if (namespaces.newNetwork) loopbackUp(hand);
  const creating = ociState(saved, "creating");
  const { hooks } = spec;
  const early = (hooks?.prestart?.length ?? 0) + (hooks?.createRuntime?.length ?? 0) > 0;
  const late = (hooks?.createContainer?.length ?? 0) > 0;
  if (early) {
    stage("namespaces", () => hand.run());
    runHooks(hooks, "prestart", creating);
    runHooks(hooks, "createRuntime", creating);
  }
  const rooted: Rooted = stage("rootfs", () => buildRootfs(hand, plan));
  if (late) {
    stage("error preparing rootfs", () => hand.run());
    runHooksInContainer(hooks, "createContainer", creating, hand.pid);
  }
  stage("error preparing rootfs", () => {
    enterRoot(hand, rooted, plan);
    setNames(hand, spec);
    setSysctls(hand, spec);
    hand.run();
  });
  writeOomScore(hand.pid, process.oomScoreAdj);
  let terminal: ReturnType<typeof openTerminal> | undefined;
  let master: number | undefined;
  if (process.terminal === true) {
    stage("error setting up the terminal", () => {
      terminal = openTerminal(rooted, process);
      bindConsole(rooted, terminal.peer);
      hand.run();
      master = hand.result(terminal.master);
      if (consoleFd === undefined) return;
      sendFds(consoleFd, Buffer.from("/dev/ptmx"), [master]);
      close(consoleFd);
    });
  }
  if (options.pidfdSocket !== undefined) sendPidfd(options.pidfdSocket, hand.pid, "standard");
  enterDirectory(rooted, process);
  const program = findProgram(hand, process);
  stage("error starting the process", () => {
    setLimits(hand, process, getppid());
    becomeProcess(
      hand,
      rooted,
      {
        process,
        terminal: terminal?.peer,
        seccomp: spec.linux?.seccomp,
        cacheDirectory: `${options.root}/.seccomp`,
        noNewKeyring: options.noNewKeyring,
        id: options.id,
        preserveFds: options.listenFds + options.preserveFds,
        fifoFd,
      },
      program,
    );
  });
  if (options.pidFile !== undefined) writePidFile(options.pidFile, hand.pid);
  return { pid: hand.pid, master: options.foreground && master };
}

/** Queue: /dev/console is the terminal, bound by its descriptor (CVE-2025-52565). */
function bindConsole(rooted: Rooted, peer: ReturnType<typeof openTerminal>["peer"]): void {
  const { hand } = rooted;
  const none = hand.text("");
  const copy = hand.call("open_tree", [peer, none, 1 | O_CLOEXEC | 0x1000], { about: "/dev/console" });
  const target = rooted.openOrMake("/dev/console", "file");
  hand.call("move_mount", [copy, none, target, none, 0x44], { about: "/dev/console" });
  hand.call("close", [copy]);
  rooted.close(target);
}
