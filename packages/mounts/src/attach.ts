import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  CallError,
  type CallOptions,
  ENOTDIR,
  FSCONFIG_CMD_CREATE,
  FSCONFIG_SET_FD,
  FSCONFIG_SET_FLAG,
  FSCONFIG_SET_STRING,
  FSMOUNT_CLOEXEC,
  FSOPEN_CLOEXEC,
  type Hand,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
  S_IFDIR,
  S_IFMT,
  type Slot,
  stat,
} from "@longshore/syscalls";
import type { Attributes, Propagation } from "./options.ts";

export interface FileSystemOptions {
  source?: string;
  options: readonly string[];
  /** MOUNT_ATTR_* */
  attributes: number;
  /** Options whose values are descriptors. */
  descriptors?: Readonly<Record<string, number>>;
}

/** Queue: a detached mount of a new file system. */
export function makeFileSystem(
  hand: Hand,
  type: string,
  { source, options, attributes, descriptors = {} }: FileSystemOptions,
): Slot {
  const context = hand.call("fsopen", [hand.text(type), FSOPEN_CLOEXEC], { about: type });
  if (source !== undefined && source !== "") {
    hand.call("fsconfig", [context, FSCONFIG_SET_STRING, hand.text("source"), hand.text(source), 0], {
      about: `${type} source`,
      skipOnError: 0, // some don't have one
    });
  }
  for (const option of options) {
    const equals = option.indexOf("=");
    const key = hand.text(equals < 0 ? option : option.slice(0, equals));
    const [command, value] =
      equals < 0 ? [FSCONFIG_SET_FLAG, 0] : [FSCONFIG_SET_STRING, hand.text(option.slice(equals + 1))];
    hand.call("fsconfig", [context, command, key, value, 0], { about: `${type} option ${option}` });
  }
  for (const [key, fd] of Object.entries(descriptors)) {
    hand.call("fsconfig", [context, FSCONFIG_SET_FD, hand.text(key), 0, fd], {
      about: `${type} option ${key}`,
    });
  }
  hand.call("fsconfig", [context, FSCONFIG_CMD_CREATE, 0, 0, 0], { about: type });
  const mount = hand.call("fsmount", [context, FSMOUNT_CLOEXEC, attributes], { about: type });
  hand.call("close", [context]);
  return mount;
}

/** Queue: a detached copy of what is at a path, or with "" of what a descriptor is. */
export function cloneTree(
  hand: Hand,
  path: string,
  { dirfd = AT_FDCWD, recursive = false }: { dirfd?: number | Slot; recursive?: boolean } = {},
): Slot {
  const flags =
    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0) | (path === "" ? AT_EMPTY_PATH : 0);
  return hand.call("open_tree", [dirfd, hand.text(path), flags], { about: path });
}

export interface AttributeOptions {
  /** Also of all mounts below. */
  recursive?: boolean;
  propagation?: number;
  /** Of an id-mapped mount; its attribute must be set. */
  userNamespace?: number;
  about?: string;
  /** As {@link CallOptions}, with the attributes that the call is made once more with. */
  recover?: (error: CallError, retry: (attributes: Attributes) => void) => undefined;
}

/** Queue: change the attributes or the propagation of a mount that a descriptor is. */
export function setAttributes(
  hand: Hand,
  mount: Slot | number,
  { set, clear }: Attributes,
  { recursive = false, propagation = 0, userNamespace = 0, about = "", recover }: AttributeOptions = {},
): void {
  const { arena } = hand.calls;
  const at = arena.room(32);
  arena.put64(at, set);
  arena.put64(at + 8, clear);
  arena.put64(at + 16, propagation);
  arena.put64(at + 24, userNamespace);
  const flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
  const options: CallOptions = { about };
  if (recover) {
    options.recover = (error) =>
      recover(error, (next) => {
        arena.put64(at, next.set);
        arena.put64(at + 8, next.clear);
      });
  }
  hand.call("mount_setattr", [mount, hand.text(""), flags, arena.base + at, 32], options);
}

export function setPropagation(hand: Hand, mount: Slot | number, { type, recursive }: Propagation): void {
  setAttributes(hand, mount, { set: 0, clear: 0 }, { recursive, propagation: type, about: "propagation" });
}

/** Queue: put a detached mount where the target descriptor is. */
export function attach(hand: Hand, mount: Slot | number, target: Slot | number, about: string): void {
  const none = hand.text("");
  const args = [mount, none, target, none, MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH];
  hand.call("move_mount", args, {
    about,
    recover: (error) => {
      // mount(2) has a word of its own for a directory on a file, by which engines know it; this call hasn't.
      const [what, where] = [mount, target].map((fd) => isDirectory(hand, fd));
      if (error.code !== "EINVAL" || what === where) throw error;
      throw new CallError(ENOTDIR, error.syscall, about, error.wording);
    },
  });
}

function isDirectory(hand: Hand, fd: Slot | number): boolean {
  const number = typeof fd === "number" ? fd : hand.result(fd);
  return (stat("", AT_EMPTY_PATH, number).mode & S_IFMT) === S_IFDIR;
}
