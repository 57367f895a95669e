import { EngineError } from "@longshore/errors";
import type { IdMapping, Namespace, NamespaceType, Spec } from "@longshore/oci";
import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWTIME,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
  O_CLOEXEC,
  O_RDONLY,
  openFile,
  readlink,
} from "@longshore/syscalls";
import { isRootless } from "./rootless.ts";

/** In the order in which they are joined: after the mount namespace, paths mean something else. */
export const NAMESPACES: Record<NamespaceType, { flag: number; file: string }> = {
  user: { flag: CLONE_NEWUSER, file: "user" },
  ipc: { flag: CLONE_NEWIPC, file: "ipc" },
  uts: { flag: CLONE_NEWUTS, file: "uts" },
  network: { flag: CLONE_NEWNET, file: "net" },
  pid: { flag: CLONE_NEWPID, file: "pid" },
  cgroup: { flag: CLONE_NEWCGROUP, file: "cgroup" },
  time: { flag: CLONE_NEWTIME, file: "time" },
  mount: { flag: CLONE_NEWNS, file: "mnt" },
};

/** A namespace that is there already. */
interface Joined {
  type: NamespaceType;
  fd: number;
  flag: number;
  about: string;
}

export interface NamespacePlan {
  /** Made by clone3. */
  cloneFlags: number;
  /** That the child is born in, where there is a user namespace: it must be entered after the others and before new ones are made. */
  entered: Joined[];
  /** Joined by the child, in this order. */
  joined: Joined[];
  /**
   * A pid namespace to join. The child, which shares our memory, stays outside and chooses it for its children: the program that
   * it becomes makes one. Then all others are joined and made by the child itself, none by clone3.
   */
  pidFd: number | undefined;
  /** Made by the child. */
  unshared: number;
  /** The user namespace, whether new or joined. */
  user: UserNamespace | undefined;
  /** Unshared by the child once it is in its cgroup, which is the root of the new view. */
  newCgroup: boolean;
  newNetwork: boolean;
  /** The child's next program is the first in it. */
  newTime: boolean;
  /** Joined by the child's next program, as the kernel wants a process with memory of its own. */
  timeFd: number | undefined;
  own: ReadonlySet<NamespaceType>;
  all: ReadonlySet<NamespaceType>;
}

export interface UserNamespace {
  /** Of a joined one. */
  path: string | undefined;
  uidMappings: IdMapping[];
  gidMappings: IdMapping[];
}

/** What to do about each namespace of the specification. Paths are opened here, before anything of the container runs. */
export function planNamespaces(spec: Spec): NamespacePlan {
  const seen = new Map<NamespaceType, Namespace>();
  for (const namespace of spec.linux?.namespaces ?? []) {
    if (seen.has(namespace.type)) {
      throw new EngineError(
        "invalid_argument",
        `malformed spec file: duplicated ns ${JSON.stringify(namespace.type)}`,
      );
    }
    seen.set(namespace.type, namespace);
  }
  if (!seen.has("mount")) {
    if ((spec.linux?.maskedPaths ?? spec.linux?.readonlyPaths ?? []).length > 0) {
      throw new EngineError(
        "invalid_argument",
        "unable to restrict sys entries without a private MNT namespace",
      );
    }
    throw new EngineError("unimplemented", "linux.namespaces: a mount namespace is needed");
  }
  const user = seen.get("user");
  const plan: NamespacePlan = {
    cloneFlags: 0,
    entered: [],
    joined: [],
    pidFd: undefined,
    unshared: 0,
    user: user && {
      path: user.path || undefined,
      uidMappings: spec.linux?.uidMappings ?? [],
      gidMappings: spec.linux?.gidMappings ?? [],
    },
    newCgroup: false,
    newNetwork: false,
    newTime: false,
    timeFd: undefined,
    own: new Set([...seen.values()].filter(({ path }) => !path).map(({ type }) => type)),
    all: new Set(seen.keys()),
  };
  for (const [type, { path = "" }] of inOrder(seen)) {
    const { flag } = NAMESPACES[type];
    if (path === "") makeNew(plan, type, flag);
    else join(plan, type, flag, path);
  }
  // Entered with the rights of the host; those of the user namespace wouldn't do for what isn't its own.
  plan.entered.sort((a, b) => Number(a.type === "user") - Number(b.type === "user"));
  if (plan.pidFd !== undefined) {
    plan.joined.push(...plan.entered);
    plan.entered = [];
    plan.unshared = plan.cloneFlags;
    plan.cloneFlags = 0;
  }
  return plan;
}

function inOrder(seen: ReadonlyMap<NamespaceType, Namespace>): [NamespaceType, Namespace][] {
  const found: [NamespaceType, Namespace][] = [];
  for (const type of Object.keys(NAMESPACES) as NamespaceType[]) {
    const namespace = seen.get(type);
    if (namespace) found.push([type, namespace]);
  }
  return found;
}

function makeNew(plan: NamespacePlan, type: NamespaceType, flag: number): void {
  if (type === "cgroup") plan.newCgroup = true;
  else if (type === "time") plan.newTime = true;
  else plan.cloneFlags += flag;
  if (type === "network") plan.newNetwork = true;
}

function join(plan: NamespacePlan, type: NamespaceType, flag: number, path: string): void {
  const fd = openNamespace(type, path);
  if (type === "time") plan.timeFd = fd;
  else if (type === "pid") plan.pidFd = fd;
  else {
    const list = plan.user === undefined ? plan.joined : plan.entered;
    list.push({ type, fd, flag, about: `${type} namespace ${path}` });
  }
}

function openNamespace(type: NamespaceType, path: string): number {
  try {
    return openFile(path, O_RDONLY | O_CLOEXEC);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new EngineError("invalid_argument", `${type} namespace: ${why}`, { cause: error });
  }
}

/** The namespaces in which a process is and we are not. */
export function foreignNamespaces(pid: number): { type: NamespaceType; flag: number }[] {
  return (Object.entries(NAMESPACES) as [NamespaceType, { flag: number; file: string }][])
    .filter(([, { file }]) => readlink(`/proc/${pid}/ns/${file}`) !== readlink(`/proc/self/ns/${file}`))
    .map(([type, { flag }]) => ({ type, flag }));
}

/** What a further process has to join, as the container's init has it. */
export interface NamespacesToJoin {
  /** For setns(2) with a pidfd. One of the same kind as ours may be joined again, except for users and clocks. */
  flags: number;
  users: boolean;
  mounts: boolean;
  pids: boolean;
  /** The time namespace, which only a process with memory of its own can join; not among the flags. */
  clocks: boolean;
}

/** The namespaces of a process in which we are not. */
export function namespacesToJoin(pid: number): NamespacesToJoin {
  const foreign = (file: string) => readlink(`/proc/${pid}/ns/${file}`) !== readlink(`/proc/self/ns/${file}`);
  const users = foreign("user");
  const mounts = foreign("mnt");
  const pids = foreign("pid");
  let always = CLONE_NEWIPC + CLONE_NEWUTS + CLONE_NEWNET + CLONE_NEWCGROUP;
  // Only root may join again what is the host's.
  if (isRootless()) {
    always =
      (foreign("ipc") ? CLONE_NEWIPC : 0) +
      (foreign("uts") ? CLONE_NEWUTS : 0) +
      (foreign("net") ? CLONE_NEWNET : 0) +
      (foreign("cgroup") ? CLONE_NEWCGROUP : 0);
  }
  const flags = always + (users ? CLONE_NEWUSER : 0) + (mounts ? CLONE_NEWNS : 0) + (pids ? CLONE_NEWPID : 0);
  return { flags, users, mounts, pids, clocks: foreign("time") };
}
