import type { Mount } from "@longshore/api/containerd/types/mount";
import { EngineError } from "@longshore/errors";
import {
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

/** The kernel takes a page of options, its end included. */
export const MAX_DATA_BYTES = 4095;

/** mount(2)'s view of a mount's options. */
export interface ParsedMount {
  flags: number;
  propagation: number[];
  data: string;
  /** The directory that relative lower directories in `data` start from, when they were shortened to fit. */
  directory: string | undefined;
}

/** @throws EngineError `unimplemented` for `loop` and id maps */
export function sortOptions({ type, options }: Pick<Mount, "type" | "options">): {
  flags: number;
  propagation: number[];
  data: string[];
} {
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
  return { flags, propagation, data };
}

/** @throws EngineError `invalid_argument` for options that don't fit, `unimplemented` for `loop` and id maps */
export function parseMount(mount: Pick<Mount, "type" | "options">): ParsedMount {
  const { type } = mount;
  const { flags, propagation, data } = sortOptions(mount);
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
export function commonDirectory(paths: readonly string[]): string | undefined {
  let directory = paths[0] ?? "";
  while (directory !== "" && !paths.every((one) => one.startsWith(`${directory}/`)))
    directory = directory.slice(0, directory.lastIndexOf("/"));
  return directory === "" ? undefined : directory;
}
