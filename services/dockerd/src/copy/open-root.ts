import fs from "node:fs";
import path from "node:path";
import type { Mount } from "@longshore/api/containerd/types/mount";
import { RootedTree } from "@longshore/archive";
import { isErrno } from "@longshore/errors";
import type { Mount as OciMount } from "@longshore/oci";
import {
  AT_FDCWD,
  AT_RECURSIVE,
  fsconfigCreate,
  fsconfigOption,
  fsmount,
  fsopen,
  MOUNT_ATTR_RDONLY,
  mountSetattr,
  moveMount,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
  openTree,
} from "@longshore/syscalls";
import { SNAPSHOTTER } from "../containerd/client.ts";
import type { Container } from "../containers/container.ts";
import { hasProcess } from "../containers/container-status.ts";
import type { Engine } from "../engine.ts";
import { ownersOf } from "../userns/process-owners.ts";
import { bytesOf } from "../volumes/copy-up.ts";
import { mountsBelow, unmountVolume } from "../volumes/mount-volume.ts";
import { stagesDir, startMounts } from "../volumes/start-mounts.ts";

/**
 * Work on a container's files as its processes see them, with all that is mounted there: through its first process while it runs;
 * else put together on the host meanwhile, when the container can't be started.
 */
export async function withRoot<T>(
  engine: Engine,
  container: Container,
  work: (tree: RootedTree) => Promise<T>,
): Promise<T> {
  const running = openRunning(container);
  if (running) {
    using tree = running;
    return await work(tree);
  }
  return container.lock.run(async () => {
    using tree = openRunning(container);
    if (tree) return await work(tree);
    return await withAssembled(engine, container, work);
  });
}

function openRunning({ record: { id, state } }: Container): RootedTree | undefined {
  if (!hasProcess(state.status)) return undefined;
  let tree: RootedTree | undefined;
  try {
    tree = new RootedTree(`/proc/${state.pid}/root`, ownersOf(state.pid));
    // Asked after it is open: the id could be another process's by now, whose root is the host's.
    if (fs.readFileSync(`/proc/${state.pid}/cgroup`, "utf8").includes(id)) return tree;
  } catch (error) {
    if (!isErrno(error, "ENOENT", "ESRCH", "EACCES")) throw error;
  }
  tree?.[Symbol.dispose]();
  return undefined; // it has just ended: what is left is put together
}

async function withAssembled<T>(
  engine: Engine,
  container: Container,
  work: (tree: RootedTree) => Promise<T>,
): Promise<T> {
  const { id, hostConfig } = container.record;
  const { mounts } = await engine.containerd.snapshots.mounts({ snapshotter: SNAPSHOTTER, key: id });
  using undo = new DisposableStack();
  const mounting = undo.use(await startMounts(engine, container.record));
  // A daemon that comes back after one that was killed takes away what is mounted below this directory.
  const stage = path.join(stagesDir(engine), `${id}.copy`);
  fs.mkdirSync(stage, { recursive: true, mode: 0o700 });
  undo.defer(() => {
    for (const point of mountsBelow(stage)) unmountVolume(point);
    fs.rmdirSync(stage);
  });
  attach(openRootfs(mounts), AT_FDCWD, stage);
  const tree = undo.use(new RootedTree(stage));
  const shallowFirst = [...mounting.mounts].sort((a, b) => depth(a.destination) - depth(b.destination));
  for (const mount of shallowFirst) if (mount.type === "bind") bind(tree, mount);
  if (hostConfig.ReadonlyRootfs) mountSetattr(AT_FDCWD, stage, { set: MOUNT_ATTR_RDONLY });
  return await work(tree);
}

/** The container's own files as a mount that is not attached yet. */
function openRootfs([mount]: readonly Mount[]): number {
  if (!mount) throw new Error("the container has no root filesystem");
  if (mount.type === "bind") return openTree(AT_FDCWD, mount.source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  const context = fsopen(mount.type);
  try {
    for (const option of mount.options) {
      const at = option.indexOf("=");
      const [name, value] = at < 0 ? [option, undefined] : [option.slice(0, at), option.slice(at + 1)];
      // One by one: all together they may be more than an option's 255 bytes.
      if (name === "lowerdir" && value !== undefined && value.length > 255)
        for (const lower of value.split(":")) fsconfigOption(context, "lowerdir+", lower);
      else fsconfigOption(context, name, value);
    }
    fsconfigCreate(context);
    return fsmount(context);
  } finally {
    fs.closeSync(context);
  }
}

function attach(mount: number, toFd: number, toPath: string): void {
  try {
    moveMount(mount, toFd, toPath);
  } finally {
    fs.closeSync(mount);
  }
}

/** Mount something at its place in the container, which no link leads elsewhere. */
function bind(tree: RootedTree, { source, destination, options = [] }: OciMount): void {
  const recursive = options.includes("rbind") ? AT_RECURSIVE : 0;
  const part = openTree(AT_FDCWD, source ?? "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive);
  try {
    if (options.includes("ro")) mountSetattr(part, "", { set: MOUNT_ATTR_RDONLY });
    const target = makePlace(tree, bytesOf(destination), fs.fstatSync(part).isDirectory());
    try {
      moveMount(part, target, "");
    } finally {
      fs.closeSync(target);
    }
  } finally {
    fs.closeSync(part);
  }
  tree.forgetDirectories(); // what was opened there before is below the new mount
}

/** Open where something is mounted; it is made where a container that never ran doesn't have it yet. */
function makePlace(tree: RootedTree, place: string, isDirectory: boolean): number {
  const parts = tree.resolve(place);
  for (let length = 1; length <= parts.length; length++) {
    const at = {
      dirfd: tree.directory(parts.slice(0, length - 1).join("/")) ?? -1,
      base: parts[length - 1] ?? "",
    };
    if (tree.lstat(at)) continue;
    if (length < parts.length || isDirectory) tree.mkdir(at, 0o755);
    else fs.closeSync(tree.create(at, 0o644));
  }
  const found = tree.find(parts.join("/"));
  if (found === undefined) throw new Error(`no place for a mount at ${place}`);
  return found;
}

function depth(file: string): number {
  return file.split("/").length;
}
