import {
  MOUNT_ATTR__ATIME,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NOSYMFOLLOW,
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_RELATIME,
  MOUNT_ATTR_STRICTATIME,
  MS_BIND,
  MS_DIRSYNC,
  MS_I_VERSION,
  MS_LAZYTIME,
  MS_MANDLOCK,
  MS_NOATIME,
  MS_NODEV,
  MS_NODIRATIME,
  MS_NOEXEC,
  MS_NOSUID,
  MS_NOSYMFOLLOW,
  MS_PRIVATE,
  MS_RDONLY,
  MS_REC,
  MS_RELATIME,
  MS_REMOUNT,
  MS_SHARED,
  MS_SILENT,
  MS_SLAVE,
  MS_STRICTATIME,
  MS_SYNCHRONOUS,
  MS_UNBINDABLE,
} from "@longshore/syscalls";

/** A change of mount attributes as mount_setattr(2) takes it. */
export interface Attributes {
  set: number;
  clear: number;
}

export interface Propagation {
  type: number;
  recursive: boolean;
}

/** The options of one mount of the specification, sorted by how the kernel takes them. */
export interface MountOptions {
  /** MS_* that are asked for; MS_BIND for a bind, with MS_REC one of everything below. */
  flags: number;
  /** MS_* that are asked not to be. */
  cleared: number;
  /** For this mount and all below (rro and its like). */
  recursiveAttributes: Attributes;
  propagation: Propagation[];
  /** The file system's own options, `key` or `key=value`. */
  data: string[];
  /** Start a tmpfs with what is at its target. */
  copyUp: boolean;
  /** Map the owners of files: of the mount itself (`idmap`), or of all below as well (`ridmap`). */
  idMap: "top" | "all" | undefined;
}

const SET: Record<string, number> = {
  bind: MS_BIND,
  rbind: MS_BIND | MS_REC,
  remount: MS_REMOUNT,
  ro: MS_RDONLY,
  nosuid: MS_NOSUID,
  nodev: MS_NODEV,
  noexec: MS_NOEXEC,
  nosymfollow: MS_NOSYMFOLLOW,
  noatime: MS_NOATIME,
  nodiratime: MS_NODIRATIME,
  relatime: MS_RELATIME,
  strictatime: MS_STRICTATIME,
  sync: MS_SYNCHRONOUS,
  dirsync: MS_DIRSYNC,
  lazytime: MS_LAZYTIME,
  mand: MS_MANDLOCK,
  iversion: MS_I_VERSION,
  silent: MS_SILENT,
};

const CLEARED: Record<string, number> = {
  rw: MS_RDONLY,
  suid: MS_NOSUID,
  dev: MS_NODEV,
  exec: MS_NOEXEC,
  symfollow: MS_NOSYMFOLLOW,
  atime: MS_NOATIME,
  diratime: MS_NODIRATIME,
  norelatime: MS_RELATIME,
  nostrictatime: MS_STRICTATIME,
  async: MS_SYNCHRONOUS,
  nolazytime: MS_LAZYTIME,
  nomand: MS_MANDLOCK,
  noiversion: MS_I_VERSION,
  loud: MS_SILENT,
};

const PROPAGATION: Record<string, number> = {
  private: MS_PRIVATE,
  shared: MS_SHARED,
  slave: MS_SLAVE,
  unbindable: MS_UNBINDABLE,
};

/** The recursive words, which begin with an r, and their changes. */
const RECURSIVE: Record<string, readonly [set: number, clear: number]> = {
  rro: [MOUNT_ATTR_RDONLY, 0],
  rrw: [0, MOUNT_ATTR_RDONLY],
  rnosuid: [MOUNT_ATTR_NOSUID, 0],
  rsuid: [0, MOUNT_ATTR_NOSUID],
  rnodev: [MOUNT_ATTR_NODEV, 0],
  rdev: [0, MOUNT_ATTR_NODEV],
  rnoexec: [MOUNT_ATTR_NOEXEC, 0],
  rexec: [0, MOUNT_ATTR_NOEXEC],
  rnodiratime: [MOUNT_ATTR_NODIRATIME, 0],
  rdiratime: [0, MOUNT_ATTR_NODIRATIME],
  rnosymfollow: [MOUNT_ATTR_NOSYMFOLLOW, 0],
  rsymfollow: [0, MOUNT_ATTR_NOSYMFOLLOW],
  // The kernel takes a mode of access times only together with the clearing of the old one.
  rrelatime: [MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME],
  rnorelatime: [MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME],
  rnoatime: [MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME],
  ratime: [MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME],
  rstrictatime: [MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME],
  rnostrictatime: [MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME],
};

/** Every option that {@link parseOptions} understands by itself, as `runc features` lists them. */
export function knownOptions(): string[] {
  const propagation = Object.keys(PROPAGATION);
  return [
    "defaults",
    "idmap",
    "ridmap",
    "tmpcopyup",
    ...Object.keys(SET),
    ...Object.keys(CLEARED),
    ...Object.keys(RECURSIVE),
    ...propagation,
    ...propagation.map((name) => `r${name}`),
  ].sort();
}

/** The propagation that a word stands for: `rslave`, `private`, … */
export function parsePropagation(word: string): Propagation | undefined {
  const own = PROPAGATION[word];
  if (own !== undefined) return { type: own, recursive: false };
  const all = word.startsWith("r") ? PROPAGATION[word.slice(1)] : undefined;
  return all === undefined ? undefined : { type: all, recursive: true };
}

/** Sort mount options; a later one wins over an earlier. What isn't known belongs to the file system. */
export function parseOptions(words: readonly string[]): MountOptions {
  const options: MountOptions = {
    flags: 0,
    cleared: 0,
    recursiveAttributes: { set: 0, clear: 0 },
    propagation: [],
    data: [],
    copyUp: false,
    idMap: undefined,
  };
  for (const word of words) {
    const set = SET[word];
    const cleared = CLEARED[word];
    if (set !== undefined) {
      options.flags |= set;
      options.cleared &= ~set;
    } else if (cleared !== undefined) {
      options.flags &= ~cleared;
      options.cleared |= cleared;
    } else if (word === "tmpcopyup") options.copyUp = true;
    else if (word === "idmap") options.idMap = "top";
    else if (word === "ridmap") options.idMap = "all";
    else if (word !== "defaults") addWord(options, word);
  }
  return options;
}

function addWord(options: MountOptions, word: string): void {
  const propagation = parsePropagation(word);
  const recursive = RECURSIVE[word];
  if (propagation) options.propagation.push(propagation);
  else if (recursive) {
    const [set, clear] = recursive;
    const all = options.recursiveAttributes;
    all.set = (all.set & ~clear) | set;
    all.clear = (all.clear & ~(set & ~MOUNT_ATTR__ATIME)) | clear;
  } else options.data.push(word);
}

/** MS_* of access times: those of which a mount has one, and the one of directories. */
export const MS_ATIME = MS_NOATIME | MS_RELATIME | MS_STRICTATIME | MS_NODIRATIME;

/** The attributes of a new mount with these MS_* flags. */
export function attributesOf(flags: number): number {
  let set = flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC); // the same bits
  if ((flags & MS_NOSYMFOLLOW) !== 0) set |= MOUNT_ATTR_NOSYMFOLLOW;
  if ((flags & MS_NODIRATIME) !== 0) set |= MOUNT_ATTR_NODIRATIME;
  if ((flags & MS_STRICTATIME) !== 0) set |= MOUNT_ATTR_STRICTATIME;
  else if ((flags & MS_NOATIME) !== 0) set |= MOUNT_ATTR_NOATIME;
  return set;
}

/** The change that a bind with these flags makes: attributes that aren't asked for go, access times stay unless asked for. */
export function bindChange(flags: number): Attributes {
  const set = attributesOf(flags);
  const own =
    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSYMFOLLOW;
  let clear = own & ~set;
  if ((flags & MS_ATIME) !== 0) clear |= MOUNT_ATTR__ATIME | (MOUNT_ATTR_NODIRATIME & ~set);
  return { set, clear };
}

/** The options of a file system's superblock that are flags to mount(2), in the words of fsconfig(2). */
export function superblockWords(flags: number): string[] {
  if ((flags & (MS_SYNCHRONOUS | MS_DIRSYNC | MS_LAZYTIME | MS_MANDLOCK)) === 0) return [];
  const words: string[] = [];
  if ((flags & MS_SYNCHRONOUS) !== 0) words.push("sync");
  if ((flags & MS_DIRSYNC) !== 0) words.push("dirsync");
  if ((flags & MS_LAZYTIME) !== 0) words.push("lazytime");
  if ((flags & MS_MANDLOCK) !== 0) words.push("mand");
  return words;
}

const FLAG_NAMES: readonly (readonly [number, string])[] = [
  [MS_RDONLY, "MS_RDONLY"],
  [MS_NOSUID, "MS_NOSUID"],
  [MS_NODEV, "MS_NODEV"],
  [MS_NOEXEC, "MS_NOEXEC"],
  [MS_SYNCHRONOUS, "MS_SYNCHRONOUS"],
  [MS_REMOUNT, "MS_REMOUNT"],
  [MS_MANDLOCK, "MS_MANDLOCK"],
  [MS_DIRSYNC, "MS_DIRSYNC"],
  [MS_NOSYMFOLLOW, "MS_NOSYMFOLLOW"],
  [MS_NOATIME, "MS_NOATIME"],
  [MS_NODIRATIME, "MS_NODIRATIME"],
  [MS_BIND, "MS_BIND"],
  [MS_REC, "MS_REC"],
  [MS_SILENT, "MS_SILENT"],
  [MS_UNBINDABLE, "MS_UNBINDABLE"],
  [MS_PRIVATE, "MS_PRIVATE"],
  [MS_SLAVE, "MS_SLAVE"],
  [MS_SHARED, "MS_SHARED"],
  [MS_RELATIME, "MS_RELATIME"],
  [MS_I_VERSION, "MS_I_VERSION"],
  [MS_STRICTATIME, "MS_STRICTATIME"],
  [MS_LAZYTIME, "MS_LAZYTIME"],
];

/** `MS_RDONLY|MS_BIND`, as error messages have it. */
export function flagNames(flags: number): string {
  return FLAG_NAMES.filter(([flag]) => (flags & flag) !== 0)
    .map(([, name]) => name)
    .join("|");
}

/** The MS_* flags of a mount, from the `f_flags` of statfs(2). No mode of access times is MS_STRICTATIME. */
export function flagsOfStatfs(status: number): number {
  // ST_RDONLY … ST_NODIRATIME have the bits of their namesakes; ST_RELATIME and ST_NOSYMFOLLOW don't.
  let flags = status & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_SYNCHRONOUS | MS_MANDLOCK);
  flags |= status & (MS_NOATIME | MS_NODIRATIME);
  if ((status & 4096) !== 0) flags |= MS_RELATIME;
  if ((status & 0x2000) !== 0) flags |= MS_NOSYMFOLLOW;
  return (flags & (MS_NOATIME | MS_RELATIME)) === 0 ? flags | MS_STRICTATIME : flags;
}

/** What the kernel doesn't let a user namespace take away from a mount of its parent's. */
export const MS_LOCKABLE = MS_RDONLY | MS_NODEV | MS_NOEXEC | MS_NOSUID | MS_ATIME;
