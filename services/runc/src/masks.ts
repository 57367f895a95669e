import { attach, cloneTree, type Rooted, setAttributes } from "@longshore/mounts";
import { ENOENT, errnoText, MOUNT_ATTR_RDONLY, type Slot, stat } from "@longshore/syscalls";
import { cleanDestination } from "./rootfs-plan.ts";
import { StartError } from "./start-error.ts";

const NULL_DEVICE = 0x103;

/** A look-up whose failure the table passes over; only that nothing is there is none. */
interface Looked {
  target: Slot;
  words: string;
}

/** Queue: paths show nothing, or can't be written to. One that isn't there needs neither. */
export function coverPaths(
  rooted: Rooted,
  { masked, readonly }: { masked: readonly string[]; readonly: readonly string[] },
): Looked[] {
  const { hand } = rooted;
  const looked: Looked[] = [];
  for (const path of readonly) {
    hand.calls.wording = (error) => `can't make ${JSON.stringify(path)} read-only: ${error.message}`;
    looked.push({ target: makeReadonly(rooted, path), words: `make ${JSON.stringify(path)} read-only` });
  }
  if (masked.length > 0) verifyNull();
  const seen = new Set<string>();
  for (const path of masked) {
    const clean = cleanDestination(path);
    if (seen.has(clean)) continue;
    seen.add(clean);
    hand.calls.wording = (error) => `can't mask path ${JSON.stringify(path)}: ${error.message}`;
    looked.push({ target: mask(rooted, path), words: `mask path ${JSON.stringify(path)}` });
  }
  hand.calls.wording = undefined;
  return looked;
}

/** After the queue of {@link coverPaths} ran: nothing was left open because it couldn't be looked at. */
export function checkCovered({ hand }: Rooted, looked: readonly Looked[]): void {
  for (const { target, words } of looked) {
    const result = hand.result(target);
    if (result >= 0 || result === -ENOENT) continue;
    throw new StartError(`error during container init: can't ${words}: ${errnoText(-result)}`);
  }
}

/** The host's own /dev/null is the mask: it must be what it is called (CVE-2025-31133). */
function verifyNull(): void {
  const { mode, rdev } = stat("/dev/null");
  if ((mode & 0o170000) === 0o020000 && rdev === NULL_DEVICE) return;
  throw new StartError("error during container init: can't mask paths: /dev/null is invalid");
}

function mask(rooted: Rooted, path: string): Slot {
  const { hand } = rooted;
  const target = rooted.open(path, { skipOnError: 11 });
  // From the host's root, which is still ours.
  const nothing = cloneTree(hand, "/dev/null");
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
