import { isErrno } from "@longshore/errors";
import type { Rooted } from "@longshore/mounts";
import type { IdMapping } from "@longshore/oci";
import {
  AT_EMPTY_PATH,
  AT_SYMLINK_NOFOLLOW,
  close,
  type FileStatus,
  type Hand,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  O_WRONLY,
  readDirectory,
  readlink,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  type Slot,
  stat,
} from "@longshore/syscalls";
import type { RootfsPlan } from "./rootfs-plan.ts";

const CHUNK_BYTES = 1 << 30;

interface Copy {
  hand: Hand;
  uidMappings: readonly IdMapping[] | undefined;
  gidMappings: readonly IdMapping[] | undefined;
}

/**
 * Fill a new file system with what is at its target. The child makes everything, so that it belongs to the users of its
 * namespace; names are looked up in open directories, never followed when they are links.
 */
export function copyUp(
  rooted: Rooted,
  destination: string,
  made: Slot | number,
  mappings: RootfsPlan["mappings"],
): void {
  const { hand } = rooted;
  const top = hand.call("openat", [made, hand.text("."), O_RDONLY | O_DIRECTORY | O_CLOEXEC], {
    about: `tmpcopyup ${destination}`,
  });
  hand.run();
  let from: number;
  try {
    from = rooted.openNow(destination, O_RDONLY | O_DIRECTORY);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error; // nothing there, nothing to copy
    rooted.close(top);
    return;
  }
  const copy = { hand, uidMappings: mappings?.uidMappings, gidMappings: mappings?.gidMappings };
  copyDirectory(copy, from, hand.result(top));
  close(from);
  rooted.close(top);
}

/** Descriptors are those of the child and ours alike. */
function copyDirectory(copy: Copy, from: number, to: number): void {
  const { hand } = copy;
  copyOwner(copy, to, stat("", AT_EMPTY_PATH, from));
  for (const { name } of readDirectory(".", from)) {
    const status = stat(name, AT_SYMLINK_NOFOLLOW, from);
    switch (status.mode & S_IFMT) {
      case S_IFDIR: {
        hand.call("mkdirat", [to, hand.text(name), 0o700], { about: name });
        const source = openPart(copy, from, name, O_RDONLY | O_DIRECTORY);
        const target = openPart(copy, to, name, O_RDONLY | O_DIRECTORY);
        copyDirectory(copy, source, target);
        close(source);
        close(target);
        break;
      }
      case S_IFREG:
        copyFile(copy, from, to, name);
        break;
      case S_IFLNK:
        hand.call("symlinkat", [hand.text(readlink(name, from)), to, hand.text(name)], { about: name });
        chownPart(copy, to, name, status);
        break;
      default:
        hand.call("mknodat", [to, hand.text(name), status.mode, status.rdev], { about: name });
        chownPart(copy, to, name, status);
    }
  }
  hand.run();
}

function openPart(copy: Copy, directory: number, name: string, flags: number): number {
  const { hand } = copy;
  const all = flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  const slot = hand.call("openat", [directory, hand.text(name), all, 0o600], { about: name });
  hand.run();
  return hand.result(slot);
}

function copyFile(copy: Copy, from: number, to: number, name: string): void {
  const { hand } = copy;
  const source = openPart(copy, from, name, O_RDONLY);
  // As opened, not as it was looked at.
  const status = stat("", AT_EMPTY_PATH, source);
  const target = openPart(copy, to, name, O_WRONLY | O_CREAT | O_EXCL);
  for (let left = status.size; left > 0; ) {
    const sent = hand.call("sendfile", [target, source, 0, Math.min(left, CHUNK_BYTES)], { about: name });
    hand.run();
    if (hand.result(sent) === 0) break; // cut shorter meanwhile
    left -= hand.result(sent);
  }
  copyOwner(copy, target, status);
  hand.run();
  close(source);
  close(target);
}

/** Queue: owner and permissions; those last, as a change of owner takes setuid away. */
function copyOwner(copy: Copy, fd: number, { uid, gid, mode }: FileStatus): void {
  copy.hand.call("fchown", [fd, inside(copy.uidMappings, uid), inside(copy.gidMappings, gid)], {
    about: "tmpcopyup",
  });
  copy.hand.call("fchmod", [fd, mode & 0o7777], { about: "tmpcopyup" });
}

function chownPart(copy: Copy, directory: number, name: string, { uid, gid }: FileStatus): void {
  const { hand, uidMappings, gidMappings } = copy;
  const owner = [inside(uidMappings, uid), inside(gidMappings, gid)] as const;
  hand.call("fchownat", [directory, hand.text(name), ...owner, AT_SYMLINK_NOFOLLOW], { about: name });
}

/** An id of the host as the child's user namespace has it; root's for one that it hasn't. */
function inside(mappings: readonly IdMapping[] | undefined, id: number): number {
  if (!mappings) return id;
  const range = mappings.find(({ hostID, size }) => id >= hostID && id < hostID + size);
  return range ? id - range.hostID + range.containerID : 0;
}
