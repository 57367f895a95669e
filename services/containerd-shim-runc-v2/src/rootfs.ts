import fs from "node:fs";
import type { Mount } from "@longshore/api/containerd/types/mount";
import { EngineError, isErrno } from "@longshore/errors";
import {
  AT_FDCWD,
  MNT_DETACH,
  MOUNT_ATTR_IDMAP,
  MS_BIND,
  MS_DIRSYNC,
  MS_MANDLOCK,
  MS_NOATIME,
  MS_NODEV,
  MS_NODIRATIME,
  MS_NOEXEC,
  MS_NOSUID,
  MS_PRIVATE,
  MS_RDONLY,
  MS_REC,
  MS_RELATIME,
  MS_REMOUNT,
  MS_SHARED,
  MS_SLAVE,
  MS_STRICTATIME,
  MS_SYNCHRONOUS,
  MS_UNBINDABLE,
  mount,
  mountSetattr,
  moveMount,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
  openTree,
  UMOUNT_NOFOLLOW,
  umount2,
} from "@longshore/syscalls";

/**
 * Options that are flags of mount(2): which to set, or, where it is negative, all but which to clear. The names are mount(8)'s. A map, for
 * an object would keep a shape for each of its names.
 */
const FLAGS = new Map([
  ["async", ~MS_SYNCHRONOUS],
  ["atime", ~MS_NOATIME],
  ["bind", MS_BIND],
  ["defaults", 0],
  ["dev", ~MS_NODEV],
  ["diratime", ~MS_NODIRATIME],
  ["dirsync", MS_DIRSYNC],
  ["exec", ~MS_NOEXEC],
  ["mand", MS_MANDLOCK],
  ["noatime", MS_NOATIME],
  ["nodev", MS_NODEV],
  ["nodiratime", MS_NODIRATIME],
  ["noexec", MS_NOEXEC],
  ["nomand", ~MS_MANDLOCK],
  ["norelatime", ~MS_RELATIME],
  ["nostrictatime", ~MS_STRICTATIME],
  ["nosuid", MS_NOSUID],
  ["rbind", MS_BIND | MS_REC],
  ["relatime", MS_RELATIME],
  ["remount", MS_REMOUNT],
  ["ro", MS_RDONLY],
  ["rw", ~MS_RDONLY],
  ["strictatime", MS_STRICTATIME],
  ["suid", ~MS_NOSUID],
  ["sync", MS_SYNCHRONOUS],
]);

const PROPAGATION: Record<string, number> = {
  private: MS_PRIVATE,
  rprivate: MS_PRIVATE | MS_REC,
  shared: MS_SHARED,
  rshared: MS_SHARED | MS_REC,
  slave: MS_SLAVE,
  rslave: MS_SLAVE | MS_REC,
  unbindable: MS_UNBINDABLE,
  runbindable: MS_UNBINDABLE | MS_REC,
};

/**
 * Option of ours: the layers, also the upper one, are shown with their owners mapped as in the user namespace at this path. That maps the
 * host's root too, by whom overlayfs makes what is its own.
 */
const OWNERS_OPTION = "X-longshore.userns=";

/** The kernel takes a page of options, its end included. */
const MAX_DATA_BYTES = 4095;

/** mount(2)'s view of a mount's options. */
export interface ParsedMount {
  flags: number;
  propagation: number[];
  data: string;
  /** The directory that relative lower directories in `data` start from, when they were shortened to fit. */
  directory: string | undefined;
}

/** @throws EngineError `invalid_argument` for options that don't fit, `unimplemented` for `loop` and id maps */
export function parseMount({ type, options }: Pick<Mount, "type" | "options">): ParsedMount {
  let flags = type === "bind" ? MS_BIND : 0;
  const propagation: number[] = [];
  const data: string[] = [];
  for (const option of options) {
    const flag = FLAGS.get(option);
    const spread = PROPAGATION[option];
    if (flag !== undefined) flags = flag < 0 ? flags & flag : flags | flag;
    else if (spread !== undefined) propagation.push(spread);
    else if (option === "loop" || /^(uid|gid)map=|^X-containerd\./.test(option)) {
      throw new EngineError("unimplemented", `rootfs mount option ${option} is not supported`);
    } else data.push(option);
  }
  const joined = data.join(",");
  if (Buffer.byteLength(joined) <= MAX_DATA_BYTES)
    return { flags, propagation, data: joined, directory: undefined };
  const shorter = type === "overlay" ? relativeLowers(data) : undefined;
  if (!shorter || Buffer.byteLength(shorter.data) > MAX_DATA_BYTES) {
    throw new EngineError("invalid_argument", `rootfs: the options of the ${type} mount are too long`);
  }
  return { flags, propagation, ...shorter };
}

/** Many layers: name the lower directories relative to the directory that all of them are in. */
function relativeLowers(data: readonly string[]): { data: string; directory: string } | undefined {
  const index = data.findIndex((option) => option.startsWith("lowerdir="));
  const lowers = data[index]?.slice("lowerdir=".length).split(":") ?? [];
  const directory = commonDirectory(lowers);
  if (directory === undefined) return undefined;
  const relative = lowers.map((lower) => lower.slice(directory.length + 1)).join(":");
  return { directory, data: data.with(index, `lowerdir=${relative}`).join(",") };
}

/** The deepest directory that all are in; undefined for the root itself. */
function commonDirectory(paths: readonly string[]): string | undefined {
  let directory = paths[0] ?? "";
  while (directory !== "" && !paths.every((one) => one.startsWith(`${directory}/`)))
    directory = directory.slice(0, directory.lastIndexOf("/"));
  return directory === "" ? undefined : directory;
}

/**
 * Mount a container's root in the host's namespace. What was mounted is undone when one of the mounts fails.
 *
 * @returns undoes it
 */
export function mountRootfs(mounts: readonly Mount[], rootfs: string): () => void {
  let done = 0;
  try {
    for (const m of mounts) {
      mountOne(m, m.target ? `${rootfs}/${m.target}` : rootfs);
      done++;
    }
  } catch (error) {
    if (done > 0) unmountAll(rootfs);
    const why = error instanceof Error ? error.message : String(error);
    if (error instanceof EngineError) throw error;
    throw new EngineError("unknown", `failed to mount rootfs component: ${why}`, { cause: error });
  }
  return () => unmountAll(rootfs);
}

function mountOne(m: Mount, target: string): void {
  const owners = m.options.find((option) => option.startsWith(OWNERS_OPTION));
  if (owners !== undefined) {
    const plain = { ...m, options: m.options.filter((option) => option !== owners) };
    mountMapped(plain, target, owners.slice(OWNERS_OPTION.length));
    return;
  }
  const { flags, propagation, data, directory } = parseMount(m);
  const cwd = directory === undefined ? "" : process.cwd();
  if (directory !== undefined) process.chdir(directory);
  try {
    mount({ source: m.source, target, type: m.type, flags: flags & ~MS_REMOUNT, ...(data && { data }) });
  } finally {
    if (directory !== undefined) process.chdir(cwd);
  }
  // A bind takes its flags only from a second call.
  if (flags & MS_BIND && flags & ~(MS_BIND | MS_REC)) {
    mount({ source: "", target, flags: flags | MS_REMOUNT | MS_BIND });
  }
  for (const spread of propagation) mount({ source: "", target, flags: spread });
}

/** An overlay of layers whose owners are mapped: they are shown so at a place beside it until it is mounted. */
function mountMapped(m: Mount, target: string, namespacePath: string): void {
  const { flags, data } = parseMount(m);
  const options = data.split(",").map((option) => {
    const at = option.indexOf("=") + 1;
    const isPath = /^(lowerdir|upperdir|workdir)=/.test(option);
    return { name: option.slice(0, at), paths: isPath ? option.slice(at).split(":") : [], option };
  });
  const directory = commonDirectory(options.flatMap(({ paths }) => paths));
  if (m.type !== "overlay" || directory === undefined)
    throw new EngineError("unimplemented", `rootfs: a ${m.type} mount with other owners is not supported`);
  const relative = options.map(({ name, paths, option }) =>
    paths.length === 0 ? option : name + paths.map((layer) => `.${layer.slice(directory.length)}`).join(":"),
  );
  const place = `${target}.layers`;
  fs.mkdirSync(place, { mode: 0o700 });
  const before = process.cwd();
  try {
    attachMapped(directory, place, namespacePath);
    try {
      process.chdir(place);
      mount({ source: m.source, target, type: m.type, flags, data: relative.join(",") });
    } finally {
      process.chdir(before);
      umount2(place, UMOUNT_NOFOLLOW | MNT_DETACH);
    }
  } finally {
    fs.rmdirSync(place);
  }
}

function attachMapped(directory: string, place: string, namespacePath: string): void {
  const userNamespaceFd = fs.openSync(namespacePath, "r");
  try {
    const tree = openTree(AT_FDCWD, directory, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    try {
      mountSetattr(tree, "", { set: MOUNT_ATTR_IDMAP, userNamespaceFd });
      moveMount(tree, AT_FDCWD, place);
    } finally {
      fs.closeSync(tree);
    }
  } finally {
    fs.closeSync(userNamespaceFd);
  }
}

/** Unmount everything that is mounted on a path; being none is fine. */
export function unmountAll(target: string): void {
  for (;;) {
    try {
      umount2(target, UMOUNT_NOFOLLOW);
    } catch (error) {
      if (isErrno(error, "EINVAL", "ENOENT")) return;
      if (!isErrno(error, "EBUSY")) throw error;
      umount2(target, UMOUNT_NOFOLLOW | MNT_DETACH);
    }
  }
}
