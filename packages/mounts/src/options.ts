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
  MS_PRIVATE,
  MS_SHARED,
  MS_SLAVE,
  MS_UNBINDABLE,
} from "@longshore/syscalls";

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
  bind: boolean;
  /** With everything mounted below (rbind). */
  recursive: boolean;
  /** For this mount alone. */
  attributes: Attributes;
  /** For this mount and all below (rro and its like). */
  recursiveAttributes: Attributes;
  propagation: Propagation[];
  /** Flags of the file system as a whole (sync, dirsync, lazytime, …) that a bind can't change. */
  superblock: string[];
  /** The file system's own options, `key` or `key=value`. */
  data: string[];
  /** Start a tmpfs with what is at its target. */
  copyUp: boolean;
}

type Change = readonly [set: number, clear: number];

const ATTRIBUTES: Record<string, Change> = {
  ro: [MOUNT_ATTR_RDONLY, 0],
  rw: [0, MOUNT_ATTR_RDONLY],
  nosuid: [MOUNT_ATTR_NOSUID, 0],
  suid: [0, MOUNT_ATTR_NOSUID],
  nodev: [MOUNT_ATTR_NODEV, 0],
  dev: [0, MOUNT_ATTR_NODEV],
  noexec: [MOUNT_ATTR_NOEXEC, 0],
  exec: [0, MOUNT_ATTR_NOEXEC],
  noatime: [MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME],
  atime: [MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME],
  relatime: [MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME],
  norelatime: [MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME],
  strictatime: [MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME],
  nostrictatime: [MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME],
  nodiratime: [MOUNT_ATTR_NODIRATIME, 0],
  diratime: [0, MOUNT_ATTR_NODIRATIME],
  nosymfollow: [MOUNT_ATTR_NOSYMFOLLOW, 0],
  symfollow: [0, MOUNT_ATTR_NOSYMFOLLOW],
};

const PROPAGATION: Record<string, number> = {
  private: MS_PRIVATE,
  shared: MS_SHARED,
  slave: MS_SLAVE,
  unbindable: MS_UNBINDABLE,
};

const SUPERBLOCK = new Set(["sync", "async", "dirsync", "mand", "nomand", "lazytime", "nolazytime"]);

/** Options without an effect of their own. */
const WITHOUT_EFFECT = new Set(["defaults", "silent", "loud"]);

/** Known, but asked for by nobody so far; refused by name. */
const REFUSED = new Set(["remount", "idmap", "ridmap", "iversion", "noiversion"]);

/** Every option that {@link parseOptions} understands by itself, as `runc features` lists them. */
export function knownOptions(): string[] {
  const attributes = Object.keys(ATTRIBUTES);
  const propagation = Object.keys(PROPAGATION);
  return [
    "bind",
    "rbind",
    "tmpcopyup",
    ...WITHOUT_EFFECT,
    ...SUPERBLOCK,
    ...attributes,
    ...attributes.map((name) => `r${name}`),
    ...propagation,
    ...propagation.map((name) => `r${name}`),
  ].sort();
}

function change(attributes: Attributes, [set, clear]: Change): void {
  attributes.set = (attributes.set & ~clear) | set;
  // The kernel takes a new access time mode only together with the clearing of the old one.
  const kept = (set & MOUNT_ATTR__ATIME) !== 0 || (clear & MOUNT_ATTR__ATIME) !== 0 ? 0 : set;
  attributes.clear = (attributes.clear & ~kept) | clear;
}

/** The propagation that a word stands for: `rslave`, `private`, … */
export function parsePropagation(word: string): Propagation | undefined {
  const own = PROPAGATION[word];
  if (own !== undefined) return { type: own, recursive: false };
  const all = word.startsWith("r") ? PROPAGATION[word.slice(1)] : undefined;
  return all === undefined ? undefined : { type: all, recursive: true };
}

/**
 * Sort mount options; a later one wins over an earlier.
 *
 * @param refuse called with the name of an option that isn't supported; must throw
 */
export function parseOptions(words: readonly string[], refuse: (option: string) => never): MountOptions {
  const options: MountOptions = {
    bind: false,
    recursive: false,
    attributes: { set: 0, clear: 0 },
    recursiveAttributes: { set: 0, clear: 0 },
    propagation: [],
    superblock: [],
    data: [],
    copyUp: false,
  };
  for (const word of words) {
    const propagation = parsePropagation(word);
    const own = ATTRIBUTES[word];
    const all = word.startsWith("r") ? ATTRIBUTES[word.slice(1)] : undefined;
    if (propagation) options.propagation.push(propagation);
    else if (own) change(options.attributes, own);
    else if (all) change(options.recursiveAttributes, all);
    else if (word === "bind") options.bind = true;
    else if (word === "rbind") options.bind = options.recursive = true;
    else if (word === "tmpcopyup") options.copyUp = true;
    else if (SUPERBLOCK.has(word)) options.superblock.push(word);
    else if (REFUSED.has(word)) refuse(word);
    else if (!WITHOUT_EFFECT.has(word)) options.data.push(word);
  }
  return options;
}
