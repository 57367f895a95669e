import type { Rooted } from "@longshore/mounts";
import type { Process } from "@longshore/oci";
import {
  CLONE_FILES,
  type Hand,
  makedev,
  O_CLOEXEC,
  O_NOCTTY,
  O_PATH,
  O_RDWR,
  S_IFCHR,
  S_IFMT,
  type Slot,
  TIOCGPTPEER,
  TIOCSCTTY,
  TIOCSPTLCK,
  TIOCSWINSZ,
} from "@longshore/syscalls";
import { queueStatus, reopen } from "./reopen.ts";
import { StartError } from "./start-error.ts";

/** A terminal of the container's own devpts; its master, for whoever serves it, and the process's end. */
export interface Terminal {
  master: Slot;
  peer: Slot;
}

/**
 * Make a terminal for a process. What is found at its path inside is opened only when it is the multiplexer.
 * Where that lies doesn't matter: it opens the devpts beside it, and the other end is asked for by descriptor.
 */
export function openTerminal(rooted: Rooted, process: Process): Terminal {
  const { hand } = rooted;
  const { arena } = hand.calls;
  const about = "/dev/ptmx";
  const found = rooted.open(about, { flags: O_PATH });
  const status = queueStatus(hand, found);
  hand.run();
  const { mode, rdev } = status();
  if ((mode & S_IFMT) !== S_IFCHR || rdev !== makedev(5, 2)) {
    throw new StartError("/dev/ptmx of the container is not the multiplexer of pseudo terminals");
  }
  let terminal: Terminal | undefined;
  reopen(hand, hand.result(found), { flags: O_RDWR | O_NOCTTY, about }, (master) => {
    const unlock = arena.base + arena.room(4);
    hand.call("ioctl", [master, TIOCSPTLCK, unlock], { about });
    const peer = hand.call("ioctl", [master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC], { about });
    const { height = 0, width = 0 } = process.consoleSize ?? {};
    if (height > 0 && width > 0) {
      const size = arena.room(8);
      arena.bytes.writeUInt16LE(height, size);
      arena.bytes.writeUInt16LE(width, size + 2);
      hand.call("ioctl", [master, TIOCSWINSZ, arena.base + size], { about: "consoleSize" });
    }
    hand.call("fchown", [peer, process.user?.uid ?? 0, -1], { skipOnError: 0 });
    terminal = { master, peer };
  });
  if (terminal === undefined) throw new Error("no terminal was made");
  return terminal;
}

/**
 * Queue: the terminal becomes the three streams and, unless that is left to another, the controlling one. The descriptors are no
 * longer shared with us then.
 */
export function useTerminal(hand: Hand, peer: Slot, { controlling }: { controlling: boolean }): void {
  hand.call("unshare", [CLONE_FILES]);
  for (const fd of [0, 1, 2]) hand.call("dup3", [peer, fd, 0], { about: "terminal" });
  if (controlling) hand.call("ioctl", [0, TIOCSCTTY, 0], { about: "controlling terminal" });
}
