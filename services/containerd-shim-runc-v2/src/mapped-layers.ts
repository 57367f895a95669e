import fs from "node:fs";
import type { Mount } from "@longshore/api/containerd/types/mount";
import { EngineError } from "@longshore/errors";
import {
  AT_FDCWD,
  MNT_DETACH,
  MOUNT_ATTR_IDMAP,
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

/** An overlay of layers whose owners are mapped: they are shown so at a place beside it until it is mounted. */
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
  const place = `${target}.layers`;
  fs.mkdirSync(place, { mode: 0o700 });
  const before = process.cwd();
  try {
    attachMapped(directory, place, namespacePath);
    try {
      process.chdir(place);
      mount({ source: m.source, target, type: m.type, flags, data: joined });
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
