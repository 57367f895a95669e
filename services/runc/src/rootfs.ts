import type { Group } from "@longshore/cgroups";
import { CGROUP_ROOT } from "@longshore/cgroups";
import { EngineError } from "@longshore/errors";
import {
  attach,
  cloneTree,
  type Kind,
  makeFileSystem,
  parseOptions,
  parsePropagation,
  Rooted,
  setAttributes,
  setPropagation,
} from "@longshore/mounts";
import type { Mount, Spec } from "@longshore/oci";
import {
  AT_FDCWD,
  type Hand,
  MNT_DETACH,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  MS_BIND,
  MS_MOVE,
  MS_PRIVATE,
  MS_REC,
  MS_SHARED,
  MS_SLAVE,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  RESOLVE_NO_SYMLINKS,
  type Slot,
  stat,
} from "@longshore/syscalls";
import { makeDevices, makePtmx } from "./devices.ts";

export interface RootfsPlan {
  spec: Spec;
  /** Absolute. */
  rootfs: string;
  bundle: string;
  group: Group;
  ownCgroupNamespace: boolean;
  noPivot: boolean;
}

function isDirectory(path: string): boolean {
  return (stat(path).mode & 0o170000) === 0o040000;
}

/** Queue: the container's mount namespace with its root, all but the last steps which {@link enterRoot} does. */
export function buildRootfs(hand: Hand, plan: RootfsPlan): Rooted {
  const { spec, rootfs } = plan;
  const none = hand.text("");
  const word = spec.linux?.rootfsPropagation;
  const propagation = word === undefined || word === "" ? undefined : parsePropagation(word);
  // Shared would carry the following mounts out to the host; the root becomes shared again at the end.
  const first =
    propagation === undefined || propagation.type === MS_SHARED ? MS_SLAVE | MS_REC : flag(propagation);
  hand.call("mount", [none, hand.text("/"), 0, first, 0], { about: "the propagation of /" });
  hand.call("mount", [hand.text(rootfs), hand.text(rootfs), 0, MS_BIND | MS_REC, 0], { about: rootfs });
  const root = hand.call("openat", [AT_FDCWD, hand.text(rootfs), O_PATH | O_DIRECTORY | O_CLOEXEC], {
    about: rootfs,
  });
  // pivot_root(2) refuses a root whose mount or parent is shared; own bind above is the mount, so this makes it sure.
  setPropagation(hand, root, { type: MS_PRIVATE, recursive: false });
  const rooted = new Rooted(hand, root);
  for (const mount of spec.mounts ?? []) addMount(rooted, plan, mount);
  const cwd = spec.process?.cwd;
  if (cwd !== undefined && cwd !== "/") rooted.close(rooted.openOrMake(cwd, "directory"));
  return rooted;
}

const flag = ({ type, recursive }: { type: number; recursive: boolean }) => type | (recursive ? MS_REC : 0);

/** Whether the container's /dev is the host's or one the user brought: nothing is made in it then. */
function ownDev(spec: Spec): boolean {
  return !(spec.mounts ?? []).some(
    ({ destination, type, options }) =>
      destination.replace(/\/+$/, "") === "/dev" &&
      (type === "bind" || (options ?? []).some((o) => /^r?bind$/.test(o))),
  );
}

/** Queue: devices, masks and read-only paths, then the change into the root. */
export function enterRoot(hand: Hand, rooted: Rooted, plan: RootfsPlan): void {
  const { spec } = plan;
  if (ownDev(spec)) {
    makeDevices(rooted, spec);
    makePtmx(rooted);
  }
  for (const path of spec.linux?.readonlyPaths ?? []) makeReadonly(rooted, path);
  for (const path of spec.linux?.maskedPaths ?? []) mask(rooted, path);
  if (spec.root?.readonly) {
    setAttributes(hand, rooted.root, { set: MOUNT_ATTR_RDONLY, clear: 0 }, { about: "read-only root" });
  }
  const here = hand.text(".");
  const slash = hand.text("/");
  hand.call("fchdir", [rooted.root], { about: plan.rootfs });
  if (plan.noPivot) {
    hand.call("mount", [here, slash, 0, MS_MOVE, 0], { about: "the root" });
    hand.call("chroot", [here], { about: plan.rootfs });
  } else {
    const old = hand.call("openat", [AT_FDCWD, slash, O_PATH | O_DIRECTORY | O_CLOEXEC]);
    hand.call("pivot_root", [here, here], { about: plan.rootfs });
    // The old root is now on top of the new one. Slave, so that the unmount doesn't reach the host.
    hand.call("fchdir", [old]);
    hand.call("mount", [hand.text(""), here, 0, MS_SLAVE | MS_REC, 0], { about: "the old root" });
    hand.call("umount2", [here, MNT_DETACH], { about: "the old root" });
    hand.call("close", [old]);
  }
  hand.call("chdir", [slash]);
  const word = spec.linux?.rootfsPropagation;
  const propagation = word === undefined || word === "" ? undefined : parsePropagation(word);
  if (propagation) {
    hand.call("mount", [hand.text(""), slash, 0, flag(propagation), 0], { about: "rootfsPropagation" });
  }
}

function refuse(mount: Mount): (option: string) => never {
  return (option) => {
    throw new EngineError("unimplemented", `mount ${mount.destination}: option ${option} is not supported`);
  };
}

/** Their targets must be directories of the root itself: a link would let an image choose what is seen as procfs (CVE-2019-19921). */
const NO_LINK = new Set(["proc", "sysfs"]);

function addMount(rooted: Rooted, plan: RootfsPlan, mount: Mount): void {
  const { hand } = rooted;
  const options = parseOptions(mount.options ?? [], refuse(mount));
  const { destination } = mount;
  let { source = "" } = mount;
  const { attributes } = options;
  let made: Slot;
  let kind: Kind = "directory";
  const bind = options.bind || mount.type === "bind";
  if (bind) {
    if (!source.startsWith("/")) source = `${plan.bundle}/${source}`;
    if (!isDirectory(source)) kind = "file";
    made = cloneTree(hand, source, { recursive: options.recursive });
    if (attributes.set !== 0 || attributes.clear !== 0) {
      setAttributes(hand, made, attributes, { about: destination });
    }
  } else if (mount.type === "cgroup" || mount.type === "cgroup2") {
    addCgroupMount(rooted, plan, mount, attributes.set);
    return;
  } else {
    const type = mount.type ?? "";
    if (type === "")
      throw new EngineError("invalid_argument", `mount ${destination} has neither a type nor bind`);
    const data = [...options.data, ...options.superblock];
    // As mount(8): read-only holds for the file system as well, where it is made for this container.
    if ((attributes.set & MOUNT_ATTR_RDONLY) !== 0 && type !== "proc" && type !== "sysfs") data.push("ro");
    made = makeFileSystem(hand, type, { source, options: data, attributes: attributes.set });
  }
  const { recursiveAttributes } = options;
  if (recursiveAttributes.set !== 0 || recursiveAttributes.clear !== 0) {
    setAttributes(hand, made, recursiveAttributes, { recursive: true, about: destination });
  }
  if (options.copyUp) {
    throw new EngineError("unimplemented", `mount ${destination}: option tmpcopyup is not supported`);
  }
  const target = rooted.openOrMake(
    destination,
    kind,
    NO_LINK.has(mount.type ?? "") ? RESOLVE_NO_SYMLINKS : 0,
  );
  attach(hand, made, target, `${source || mount.type} on ${destination}`);
  rooted.close(target);
  for (const propagation of options.propagation) setPropagation(hand, made, propagation);
  rooted.close(made);
}

/** The host's hierarchies as the container may see them: v2 as it is; v1 one directory each in a tmpfs. */
function addCgroupMount(rooted: Rooted, plan: RootfsPlan, mount: Mount, attributes: number): void {
  const { hand } = rooted;
  const { destination } = mount;
  const put = (made: Slot, path: string, about: string) => {
    const target = rooted.openOrMake(path, "directory");
    attach(hand, made, target, about);
    rooted.close(target);
    rooted.close(made);
  };
  const view = (type: string, options: string[], path: string): Slot => {
    if (plan.ownCgroupNamespace) return makeFileSystem(hand, type, { source: "cgroup", options, attributes });
    const made = cloneTree(hand, path);
    setAttributes(hand, made, { set: attributes, clear: 0 }, { about: destination });
    return made;
  };
  if (plan.group.unified) {
    put(view("cgroup2", [], plan.group.unifiedPath ?? CGROUP_ROOT), destination, destination);
    return;
  }
  const plain = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  const top = makeFileSystem(hand, "tmpfs", { source: "tmpfs", options: ["mode=755"], attributes: plain });
  const target = rooted.openOrMake(destination, "directory");
  attach(hand, top, target, destination);
  rooted.close(target);
  for (const { version, controllers, path } of plan.group.directories) {
    if (version !== 1) continue;
    const [name = ""] = controllers;
    const directory = controllers.join(",").replace("name=", "");
    put(view("cgroup", controllers, path), `${destination}/${directory}`, name);
    for (const controller of controllers.length > 1 ? controllers : []) {
      hand.call("symlinkat", [hand.text(directory), top, hand.text(controller)], { skipOnError: 0 });
    }
  }
  if ((attributes & MOUNT_ATTR_RDONLY) !== 0) {
    setAttributes(hand, top, { set: MOUNT_ATTR_RDONLY, clear: 0 }, { about: destination });
  }
  rooted.close(top);
}

/** Queue: a path shows nothing. One that isn't there needs no mask. */
function mask(rooted: Rooted, path: string): void {
  const { hand } = rooted;
  // A bind of the host's own /dev/null, looked up before the container's root counts (CVE-2025-31133).
  const nothing = cloneTree(hand, "/dev/null");
  const target = rooted.open(path, { skipOnError: 7 });
  const none = hand.text("");
  // A directory can't be covered by a file: ENOTDIR, then by an empty file system.
  hand.call("move_mount", [nothing, none, target, none, 0x44], {
    about: `mask of ${path}`,
    skipOnError: 0,
    skipOnOk: 6,
  });
  const context = hand.call("fsopen", [hand.text("tmpfs"), 1], { about: path });
  hand.call("fsconfig", [context, 0, hand.text("ro"), 0, 0], { about: path });
  hand.call("fsconfig", [context, 6, 0, 0, 0], { about: path });
  const empty = hand.call("fsmount", [context, 1, MOUNT_ATTR_RDONLY], { about: path });
  hand.call("move_mount", [empty, none, target, none, 0x44], { about: `mask of ${path}` });
  hand.call("close", [context]);
}

/** Queue: a path can't be written to. */
function makeReadonly(rooted: Rooted, path: string): void {
  const { hand } = rooted;
  const target = rooted.open(path, { skipOnError: 3 });
  const copy = cloneTree(hand, "", { dirfd: target, recursive: true });
  setAttributes(hand, copy, { set: MOUNT_ATTR_RDONLY, clear: 0 }, { about: path });
  attach(hand, copy, target, `read-only ${path}`);
}
