import fs from "node:fs";
import { EngineError } from "@longshore/errors";
import {
  AT_FDCWD,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  mountSetattr,
  O_CLOEXEC,
  OPEN_TREE_CLONE,
  openTree,
} from "@longshore/syscalls";
import type { MountMessage, UnpackJob } from "./diff-messages.ts";

const HARMLESS = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSUID;

/** Where a layer goes, by the mounts that a client names. */
interface Target {
  readonly into: UnpackJob["into"];
  readonly root: string;
  readonly lowers: readonly string[];
  readonly readOnly: boolean;
}

/**
 * Say where a layer's files are to be made. Nothing is mounted for it: files are put in place in an upper directory or in the source of a
 * bind, and the parents' files stay out of reach.
 *
 * @throws EngineError `invalid_argument` without mounts, `unimplemented` for mounts of other kinds
 */
export function unpackTarget(mounts: readonly MountMessage[]): Target {
  const [mount, ...others] = mounts;
  if (!mount) throw new EngineError("invalid_argument", "no mounts given: invalid argument");
  const upper = optionOf(mount.options, "upperdir");
  if (others.length === 0 && mount.type === "overlay" && upper !== undefined) {
    const lowers = optionOf(mount.options, "lowerdir")?.split(":");
    const into = lowers ? "upper" : "upper-apart";
    return { into, root: upper, lowers: lowers ?? [], readOnly: false };
  }
  if (others.length === 0 && mount.type === "bind") {
    const readOnly = mount.options.includes("ro");
    return { into: "directory", root: mount.source, lowers: [], readOnly };
  }
  throw new EngineError("unimplemented", `no layer can be unpacked to such mounts: not implemented`);
}

/**
 * Open what an unpacking process may reach: the layer's blob and the lower directories, which nothing can be written to, and the directory
 * to unpack to. Each is a mount that is attached nowhere, so that no path leads out of it, and no device file in it can be opened.
 *
 * @returns descriptors in this order: blob, directory, lower directories; the caller closes them
 * @throws Errno from the kernel
 */
export function openForUnpacking(file: string, { root, lowers, readOnly }: Target): number[] {
  const opened: number[] = [];
  try {
    opened.push(detached(file, true), detached(root, readOnly));
    for (const lower of lowers) opened.push(detached(lower, true));
    return opened;
  } catch (error) {
    for (const fd of opened) fs.closeSync(fd);
    throw error;
  }
}

function detached(path: string, readOnly: boolean): number {
  const fd = openTree(AT_FDCWD, path, OPEN_TREE_CLONE | O_CLOEXEC);
  try {
    mountSetattr(fd, "", { set: readOnly ? HARMLESS | MOUNT_ATTR_RDONLY : HARMLESS });
    return fd;
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

function optionOf(options: readonly string[], key: string): string | undefined {
  return options.find((option) => option.startsWith(`${key}=`))?.slice(key.length + 1);
}
