import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  FSCONFIG_CMD_CREATE,
  FSCONFIG_SET_FLAG,
  FSCONFIG_SET_STRING,
  FSMOUNT_CLOEXEC,
  FSOPEN_CLOEXEC,
  type Hand,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
  type Slot,
} from "@longshore/syscalls";
import type { Attributes, Propagation } from "./options.ts";

/** Queue: a detached mount of a new file system. */
export function makeFileSystem(
  hand: Hand,
  type: string,
  { source, options, attributes }: { source?: string; options: readonly string[]; attributes: number },
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

/** Queue: change the attributes or the propagation of a mount that a descriptor is. */
export function setAttributes(
  hand: Hand,
  mount: Slot,
  { set, clear }: Attributes,
  { recursive = false, propagation = 0, about = "" } = {},
): void {
  const { arena } = hand.calls;
  const at = arena.room(32);
  for (const [index, value] of [set, clear, propagation, 0].entries()) {
    arena.put64(at + 8 * index, value);
  }
  const flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
  hand.call("mount_setattr", [mount, hand.text(""), flags, arena.base + at, 32], { about });
}

export function setPropagation(hand: Hand, mount: Slot, { type, recursive }: Propagation): void {
  setAttributes(hand, mount, { set: 0, clear: 0 }, { recursive, propagation: type, about: "propagation" });
}

/** Queue: put a detached mount where the target descriptor is. */
export function attach(hand: Hand, mount: Slot, target: Slot, about: string): void {
  const none = hand.text("");
  hand.call("move_mount", [mount, none, target, none, MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH], {
    about,
  });
}
