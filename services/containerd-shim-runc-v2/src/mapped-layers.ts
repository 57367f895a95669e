import fs from "node:fs";
import type { Mount } from "@longshore/api/containerd/types/mount";
import { EngineError } from "@longshore/errors";
import {
  AT_FDCWD,
  MNT_DETACH,
  MOUNT_ATTR_IDMAP,
  MS_PRIVATE,
  mount,
  mountSetattr,
  moveMount,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
  openTree,
  UMOUNT_NOFOLLOW,
  umount2,
} from "@longshore/syscalls";
import { commonDirectory, MAX_DATA_BYTES, sortOptions } from "./mount-options.ts";

/**
 * An overlay of layers whose owners are mapped. overlayfs takes layers only from where they are attached, so they are shown at the target
 * for a moment: whoever comes after one of us that was killed there unmounts whatever is on it before removing anything, which can't be
 * said of any other place.
 */
export function mountMapped(m: Mount, target: string, namespacePath: string): void {
  const { flags, data } = sortOptions(m);
  const options = data.map((option) => {
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
  const joined = relative.join(",");
  if (Buffer.byteLength(joined) > MAX_DATA_BYTES)
    throw new EngineError("invalid_argument", "rootfs: the options of the overlay mount are too long");
  const before = process.cwd();
  attachMapped(directory, target, namespacePath);
  let overlay: number;
  try {
    try {
      process.chdir(target);
      mount({ source: m.source, target, type: m.type, flags, data: joined });
    } finally {
      process.chdir(before);
    }
    try {
      overlay = openTree(AT_FDCWD, target, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    } finally {
      umount2(target, UMOUNT_NOFOLLOW | MNT_DETACH);
    }
  } finally {
    umount2(target, UMOUNT_NOFOLLOW | MNT_DETACH);
  }
  try {
    moveMount(overlay, AT_FDCWD, target);
  } finally {
    fs.closeSync(overlay);
  }
}

function attachMapped(directory: string, target: string, namespacePath: string): void {
  const userNamespaceFd = fs.openSync(namespacePath, "r");
  try {
    const tree = openTree(AT_FDCWD, directory, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    try {
      // Private, or what is mounted on it would come up on the layers themselves.
      mountSetattr(tree, "", { set: MOUNT_ATTR_IDMAP, propagation: MS_PRIVATE, userNamespaceFd });
      moveMount(tree, AT_FDCWD, target);
    } finally {
      fs.closeSync(tree);
    }
  } finally {
    fs.closeSync(userNamespaceFd);
  }
}
