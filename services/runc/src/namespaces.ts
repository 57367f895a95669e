import { EngineError } from "@longshore/errors";
import type { Namespace, NamespaceType, Spec } from "@longshore/oci";
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

export interface NamespacePlan {
  /** Made by clone3. */
  cloneFlags: number;
  /** Joined by the child, in this order. */
  joined: { type: NamespaceType; fd: number; flag: number }[];
  /** That the child is born in, as joining it later would count for its children only. */
  pidFd: number | undefined;
  /** Unshared by the child once it is in its cgroup, which is the root of the new view. */
  newCgroup: boolean;
  newNetwork: boolean;
  own: ReadonlySet<NamespaceType>;
}

/** What to do about each namespace of the specification. Paths are opened here, before anything of the container runs. */
export function planNamespaces(spec: Spec): NamespacePlan {
  const namespaces = spec.linux?.namespaces ?? [];
  const seen = new Map<NamespaceType, Namespace>();
  for (const namespace of namespaces) {
    if (seen.has(namespace.type)) {
      throw new EngineError(
        "invalid_argument",
        `malformed spec file: duplicated ns ${JSON.stringify(namespace.type)}`,
      );
    }
    seen.set(namespace.type, namespace);
  }
  for (const type of ["user", "time"] as const) {
    if (seen.has(type)) throw new EngineError("unimplemented", `linux.namespaces: ${type} is not supported`);
  }
  const mount = seen.get("mount");
  if (!mount || mount.path) {
    throw new EngineError("unimplemented", "linux.namespaces: a new mount namespace is needed");
  }
  const plan: NamespacePlan = {
    cloneFlags: 0,
    joined: [],
    pidFd: undefined,
    newCgroup: false,
    newNetwork: false,
    own: new Set([...seen.values()].filter(({ path }) => !path).map(({ type }) => type)),
  };
  for (const [type, { flag }] of Object.entries(NAMESPACES) as [NamespaceType, { flag: number }][]) {
    const namespace = seen.get(type);
    if (!namespace) continue;
    if (namespace.path) {
      const fd = openFile(namespace.path, O_RDONLY | O_CLOEXEC);
      if (type === "pid") plan.pidFd = fd;
      else plan.joined.push({ type, fd, flag });
    } else if (type === "cgroup") plan.newCgroup = true;
    else plan.cloneFlags += flag;
    if (type === "network" && !namespace.path) plan.newNetwork = true;
  }
  return plan;
}

/** The namespaces in which a process is and we are not. */
export function foreignNamespaces(pid: number): { type: NamespaceType; flag: number }[] {
  return (Object.entries(NAMESPACES) as [NamespaceType, { flag: number; file: string }][])
    .filter(([, { file }]) => readlink(`/proc/${pid}/ns/${file}`) !== readlink(`/proc/self/ns/${file}`))
    .map(([type, { flag }]) => ({ type, flag }));
}
