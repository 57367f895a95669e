import fs from "node:fs";
import path from "node:path";
import { EngineError, isErrno } from "@longshore/errors";
import {
  AT_FDCWD,
  MNT_DETACH,
  MOUNT_ATTR_IDMAP,
  mountSetattr,
  moveMount,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
  openTree,
  UMOUNT_NOFOLLOW,
  umount2,
} from "@longshore/syscalls";

/** Whether a volume's files are others than the engine's own: a tmpfs is as much its own as a directory. */
export function leadsElsewhere(options: Record<string, string> | null): boolean {
  return options?.type !== undefined && options.type !== "tmpfs";
}

/**
 * Show what a detached mount has with other owners.
 * @throws EngineError `failed_precondition` for a file system that can't
 */
export function showOwners(mount: number, { fd }: { fd: number }, what: string): void {
  try {
    mountSetattr(mount, "", { set: MOUNT_ATTR_IDMAP, userNamespaceFd: fd });
  } catch (error) {
    if (!isErrno(error, "EINVAL", "EOPNOTSUPP")) throw error;
    const why = "its file system can't be shown with other owners, which userns-remap needs";
    throw new EngineError("failed_precondition", `${what}: ${why}`, { cause: error });
  }
}

/**
 * Have layers with their owners mapped for the time of a piece of work.
 * @param place where they may be mounted meanwhile; not there yet
 * @param shown undefined: as they are
 */
export function withLayers(
  layers: readonly string[],
  { place, shown }: { place: string; shown: { fd: number } | undefined },
  work: (layers: readonly string[]) => void,
): void {
  if (!shown) {
    work(layers);
    return;
  }
  const directory = commonDirectory(layers);
  const tree = openTree(AT_FDCWD, directory, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  try {
    showOwners(tree, shown, directory);
    fs.mkdirSync(place, { mode: 0o700 });
    try {
      moveMount(tree, AT_FDCWD, place);
      try {
        work(layers.map((layer) => path.join(place, path.relative(directory, layer))));
      } finally {
        umount2(place, UMOUNT_NOFOLLOW | MNT_DETACH);
      }
    } finally {
      fs.rmdirSync(place);
    }
  } finally {
    fs.closeSync(tree);
  }
}

/** The deepest directory that all are in. */
function commonDirectory(paths: readonly string[]): string {
  let directory = path.dirname(paths[0] ?? "/");
  while (directory !== "/" && !paths.every((one) => one.startsWith(`${directory}/`)))
    directory = path.dirname(directory);
  return directory;
}
