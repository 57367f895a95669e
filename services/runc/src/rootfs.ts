import { EngineError } from "@longshore/errors";
import {
  attach,
  cloneTree,
  type MountOptions,
  type Propagation,
  parseOptions,
  parsePropagation,
  Rooted,
  setAttributes,
} from "@longshore/mounts";
import type { Mount, Spec } from "@longshore/oci";
import {
  AT_FDCWD,
  CallError,
  errnoText,
  type Hand,
  MNT_DETACH,
  MOUNT_ATTR_RDONLY,
  MS_PRIVATE,
  MS_REC,
  MS_SHARED,
  MS_SLAVE,
  MS_UNBINDABLE,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  RESOLVE_NO_SYMLINKS,
  type Slot,
} from "@longshore/syscalls";
import { makeDevices, makePtmx } from "./devices.ts";
import { checkCovered, coverPaths } from "./masks.ts";
import { addMount, isBind } from "./mount-entry.ts";
import { moveRoot } from "./move-root.ts";
import { cleanDestination, type LaterReadonly, type RootfsPlan } from "./rootfs-plan.ts";
import { setSysctls } from "./sysctls.ts";

/** A root file system that is being made, between {@link buildRootfs} and {@link enterRoot}. */
export interface Rootfs {
  rooted: Rooted;
  later: LaterReadonly;
  /** Whether the container's /dev is neither the host's nor one that the user brought: devices are made in it. */
  ownDev: boolean;
}

const flag = ({ type, recursive }: Propagation) => type | (recursive ? MS_REC : 0);

/** Queue: the container's root with all its mounts. */
export function buildRootfs(hand: Hand, plan: RootfsPlan): Rootfs {
  const { spec, rootfs } = plan;
  const propagation = parsePropagation(spec.linux?.rootfsPropagation ?? "") ?? {
    type: MS_SLAVE,
    recursive: true,
  };
  hand.calls.wording = (error) => `error preparing rootfs: mount dst=/: ${errnoText(error.errno)}`;
  // What can't be bound can't be mounted in the container: private at first, as all of it is in the end.
  const first = propagation.type === MS_UNBINDABLE ? MS_PRIVATE | MS_REC : flag(propagation);
  hand.call("mount", [hand.text(""), hand.text("/"), 0, first, 0]);
  // What is mounted below must not reach the host.
  if (propagation.type === MS_SHARED || (first & MS_REC) === 0) partFromHost(hand, rootfs, propagation);
  const rooted = new Rooted(hand, openRoot(hand, plan));
  // The kernel takes longer for a mount than we for the next.
  hand.begin();

  const later: LaterReadonly = [];
  let ownDev = true;
  for (const { mount, options } of plan.mounts) {
    addMount(rooted, plan, mount, options, later);
    hand.begin();
    if (isBind(mount, options) && cleanDestination(mount.destination) === "/dev") ownDev = false;
  }
  const cwd = spec.process?.cwd;
  if (cwd !== undefined && cwd !== "/") makeDirectory(rooted, cwd);
  return { rooted, later, ownDev };
}

/** Queue: the mount that the root is in is shared with nobody. Its mount point is found by trying. */
function partFromHost(hand: Hand, rootfs: string, { type }: Propagation): void {
  const flags = type === MS_SLAVE ? MS_SLAVE : MS_PRIVATE;
  for (let path = rootfs; ; path = path.slice(0, path.lastIndexOf("/"))) {
    const point = path === "" ? "/" : path;
    const done = hand.call("mount", [hand.text(""), hand.text(point), 0, flags, 0], { skipOnError: 0 });
    hand.run();
    const result = hand.result(done);
    if (result >= 0) return;
    if (result !== -22 || point === "/") {
      throw new CallError(-result, "mount", point, hand.calls.wording);
    }
  }
}

/** Queue: the root file system as a mount of its own, which pivot_root(2) wants, on itself. */
function openRoot(hand: Hand, plan: RootfsPlan): Slot | number {
  const { rootfs, porter } = plan;
  hand.calls.wording = (error) =>
    error.code === "ELOOP"
      ? "invalid rootfs: not an absolute path, or a symlink"
      : `error preparing rootfs: ${error.syscall} ${rootfs}: ${errnoText(error.errno)}`;
  let point: Slot | number;
  let copy: Slot | number;
  if (porter) {
    porter.wording = hand.calls.wording;
    ({ point, copy } = porter.root(rootfs));
  } else {
    const { arena } = hand.calls;
    const how = arena.room(24);
    arena.put64(how, O_PATH | O_DIRECTORY | O_CLOEXEC);
    arena.put64(how + 16, RESOLVE_NO_SYMLINKS);
    point = hand.call("openat2", [AT_FDCWD, hand.text(rootfs), arena.base + how, 24]);
    copy = cloneTree(hand, "", { dirfd: point, recursive: true });
  }
  attach(hand, copy, point, rootfs);
  hand.call("close", [point]);
  hand.calls.wording = undefined;
  return copy;
}

/** Queue: the working directory is there. */
function makeDirectory(rooted: Rooted, path: string): void {
  const opened = rooted.open(path, {
    recover: (error) => {
      if (error.code !== "ENOENT") throw error;
      rooted.make(path, "directory");
      return undefined;
    },
  });
  rooted.close(opened);
}

/** Make devices, masks and read-only paths, and go into the root. Nothing is left in the queue. */
export function enterRoot(hand: Hand, { rooted, later, ownDev }: Rootfs, plan: RootfsPlan): void {
  const { spec } = plan;
  if (ownDev) {
    makeDevices(rooted, plan);
    makePtmx(rooted);
    hand.begin();
  }
  setSysctls(hand, spec.linux?.sysctl ?? {});
  for (const { mount, destination } of later) {
    setAttributes(hand, mount, { set: MOUNT_ATTR_RDONLY, clear: 0 }, { about: destination });
    rooted.close(mount);
  }
  const covered = coverPaths(rooted, {
    readonly: spec.linux?.readonlyPaths ?? [],
    masked: spec.linux?.maskedPaths ?? [],
  });
  if (spec.root?.readonly) {
    hand.calls.wording = (error) => `error setting rootfs as readonly: ${errnoText(error.errno)}`;
    setAttributes(hand, rooted.root, { set: MOUNT_ATTR_RDONLY, clear: 0 });
  }
  hand.calls.wording = (error) =>
    `error jailing process inside rootfs: ${error.syscall} .: ${errnoText(error.errno)}`;
  if (plan.noPivot) moveRoot(hand, rooted, plan.rootfs);
  else pivotRoot(hand, rooted);
  hand.call("chdir", [hand.text("/")]);
  hand.calls.wording = (error) => `unable to apply root propagation flags: ${errnoText(error.errno)}`;
  const propagation = parsePropagation(spec.linux?.rootfsPropagation ?? "");
  // The others hold since the beginning, and later mounts may have been told otherwise.
  if (propagation && propagation.type !== MS_PRIVATE && propagation.type !== MS_SLAVE) {
    hand.call("mount", [hand.text(""), hand.text("/"), 0, flag(propagation), 0]);
  }
  hand.calls.wording = undefined;
  hand.run();
  checkCovered(rooted, covered);
}

function pivotRoot(hand: Hand, rooted: Rooted): void {
  const here = hand.text(".");
  const old = hand.call("openat", [AT_FDCWD, hand.text("/"), O_PATH | O_DIRECTORY | O_CLOEXEC]);
  hand.call("fchdir", [rooted.root]);
  hand.call("pivot_root", [here, here]);
  // The old root is now on top of the new one. Slave, so that the unmount doesn't reach the host.
  hand.call("fchdir", [old]);
  hand.call("mount", [hand.text(""), here, 0, MS_SLAVE | MS_REC, 0]);
  hand.call("umount2", [here, MNT_DETACH]);
  hand.call("close", [old]);
}

/** The mounts of a specification with their options. @throws EngineError for what no root file system can be made with */
export function checkMounts(spec: Spec, noPivot: boolean): RootfsPlan["mounts"] {
  const propagation = parsePropagation(spec.linux?.rootfsPropagation ?? "");
  if (noPivot && propagation?.type === MS_PRIVATE) {
    throw new EngineError(
      "invalid_argument",
      "rootfsPropagation of [r]private is not safe without pivot_root",
    );
  }
  return (spec.mounts ?? []).map((mount) => {
    const options = parseOptions(mount.options ?? []);
    const why = faultOf(spec, mount, options);
    if (why === undefined) return { mount, options };
    throw new EngineError("invalid_argument", `invalid mount ${JSON.stringify(mount)}: ${why}`);
  });
}

function faultOf(spec: Spec, mount: Mount, options: MountOptions): string | undefined {
  const bind = isBind(mount, options);
  if (bind && options.data.length > 0) {
    return "bind mounts cannot have any filesystem-specific options applied";
  }
  if (!bind && !mount.type) return "it has neither a type nor bind";
  const own = mount.uidMappings !== undefined || mount.gidMappings !== undefined;
  if (!own && options.idMap === undefined) return undefined;
  if (!bind) return "id-mapped mounts are only supported for bind-mounts";
  if (!own && spec.linux?.namespaces?.some(({ type }) => type === "user")) return undefined;
  const both = (mount.uidMappings?.length ?? 0) > 0 && (mount.gidMappings?.length ?? 0) > 0;
  return both ? undefined : "id-mapped mounts must have both uid and gid mappings specified";
}
