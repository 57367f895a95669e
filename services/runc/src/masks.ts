import { attach, cloneTree, type Rooted, setAttributes } from "@longshore/mounts";
import {
  AT_EMPTY_PATH,
  ENOENT,
  errnoText,
  MOUNT_ATTR_RDONLY,
  makedev,
  O_NOFOLLOW,
  O_PATH,
  parseStat,
  RESOLVE_NO_SYMLINKS,
  S_IFCHR,
  S_IFMT,
  type Slot,
} from "@longshore/syscalls";
import { cleanDestination } from "./rootfs-plan.ts";
import { StartError } from "./start-error.ts";

/** Bytes of a `struct stat`. */
const STAT_BYTES = 144;

/** A look-up whose failure the table passes over; only that nothing is there is none. */
interface Looked {
  target: Slot;
  words: string;
}

/** What the queue of {@link coverPaths} has to be asked for after it ran. */
export interface Covered {
  looked: readonly Looked[];
  /** Where in the arena the status of the device is that the masks show; undefined without masks. */
  nullStatus: number | undefined;
}

/** Queue: paths show nothing, or can't be written to. One that isn't there needs neither. */
export function coverPaths(
  rooted: Rooted,
  { masked, readonly }: { masked: readonly string[]; readonly: readonly string[] },
): Covered {
  const { hand } = rooted;
  const looked: Looked[] = [];
  for (const path of readonly) {
    hand.calls.wording = (error) => `can't make ${JSON.stringify(path)} read-only: ${error.message}`;
    looked.push({ target: makeReadonly(rooted, path), words: `make ${JSON.stringify(path)} read-only` });
  }
  if (masked.length === 0) {
    hand.calls.wording = undefined;
    return { looked, nullStatus: undefined };
  }
  const { device, status } = openNull(rooted);
  const seen = new Set<string>();
  for (const path of masked) {
    const clean = cleanDestination(path);
    if (seen.has(clean)) continue;
    seen.add(clean);
    hand.calls.wording = (error) => `can't mask path ${JSON.stringify(path)}: ${error.message}`;
    looked.push({ target: mask(rooted, device, path), words: `mask path ${JSON.stringify(path)}` });
  }
  rooted.close(device);
  hand.calls.wording = undefined;
  return { looked, nullStatus: status };
}

/** After the queue of {@link coverPaths} ran: nothing was left open because it couldn't be looked at. */
export function checkCovered({ hand }: Rooted, { looked, nullStatus }: Covered): void {
  if (nullStatus !== undefined) checkNull(hand.calls.arena.bytes, nullStatus);
  for (const { target, words } of looked) {
    const result = hand.result(target);
    if (result >= 0 || result === -ENOENT) continue;
    throw new StartError(`error during container init: can't ${words}: ${errnoText(-result)}`);
  }
}

/**
 * Queue: open the container's own /dev/null, which the masks show. That of the host would be the host's
 * inode: the container's root owns it, and could change its mode through a mask.
 */
function openNull(rooted: Rooted): { device: Slot; status: number } {
  const { hand } = rooted;
  const { arena } = hand.calls;
  hand.calls.wording = (error) => `can't mask paths: ${error.syscall} /dev/null: ${errnoText(error.errno)}`;
  const device = rooted.open("/dev/null", { flags: O_PATH | O_NOFOLLOW, resolve: RESOLVE_NO_SYMLINKS });
  const status = arena.room(STAT_BYTES);
  hand.call("newfstatat", [device, hand.text(""), arena.base + status, AT_EMPTY_PATH]);
  return { device, status };
}

/** The descriptor that was mounted is the null device, and nothing that an image calls so (CVE-2025-31133). */
function checkNull(bytes: Buffer, at: number): void {
  const { mode, rdev } = parseStat(bytes, at);
  if ((mode & S_IFMT) === S_IFCHR && rdev === makedev(1, 3)) return;
  throw new StartError("error during container init: can't mask paths: /dev/null is invalid");
}

function mask(rooted: Rooted, device: Slot, path: string): Slot {
  const { hand } = rooted;
  const target = rooted.open(path, { skipOnError: 11 });
  const nothing = cloneTree(hand, "", { dirfd: device });
  const none = hand.text("");
  // A directory can't be covered by a file: ENOTDIR, then by an empty file system.
  hand.call("move_mount", [nothing, none, target, none, 0x44], {
    about: path,
    skipOnError: 0,
    skipOnOk: 7,
  });
  const context = hand.call("fsopen", [hand.text("tmpfs"), 1], { about: path });
  hand.call("fsconfig", [context, 0, hand.text("ro"), 0, 0], { about: path });
  hand.call("fsconfig", [context, 1, hand.text("nr_inodes"), hand.text("2"), 0], { about: path });
  hand.call("fsconfig", [context, 6, 0, 0, 0], { about: path });
  const empty = hand.call("fsmount", [context, 1, MOUNT_ATTR_RDONLY], { about: path });
  hand.call("move_mount", [empty, none, target, none, 0x44], { about: path });
  hand.call("close", [context]);
  hand.call("close", [nothing]);
  hand.call("close", [target]);
  return target;
}

function makeReadonly(rooted: Rooted, path: string): Slot {
  const { hand } = rooted;
  const target = rooted.open(path, { skipOnError: 5 });
  const copy = cloneTree(hand, "", { dirfd: target, recursive: true });
  setAttributes(hand, copy, { set: MOUNT_ATTR_RDONLY, clear: 0 }, { about: path });
  attach(hand, copy, target, path);
  rooted.close(copy);
  rooted.close(target);
  return target;
}
