import type { Mount } from "@longshore/api/containerd/types/mount";
import { EngineError, isErrno } from "@longshore/errors";
import {
  MNT_DETACH,
  MS_BIND,
  MS_REC,
  MS_REMOUNT,
  mount,
  UMOUNT_NOFOLLOW,
  umount2,
} from "@longshore/syscalls";
import { mappedLayers } from "./load.ts";
import { parseMount } from "./mount-options.ts";

/**
 * Option of ours: the layers, also the upper one, are shown with their owners mapped as in the user namespace at this path. That maps the
 * host's root too, by whom overlayfs makes what is its own.
 */
const OWNERS_OPTION = "X-longshore.userns=";

/** Mount a container's root in the host's namespace. What was mounted is undone when one of the mounts fails. */
export function mountRootfs(mounts: readonly Mount[], rootfs: string): void {
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
}

function mountOne(m: Mount, target: string): void {
  const owners = m.options.find((option) => option.startsWith(OWNERS_OPTION));
  if (owners !== undefined) {
    const plain = { ...m, options: m.options.filter((option) => option !== owners) };
    mappedLayers().mountMapped(plain, target, owners.slice(OWNERS_OPTION.length));
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
