import {
  AT_EMPTY_PATH,
  close,
  type FileStatus,
  type Hand,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  openFile,
  parseStat,
  type Slot,
} from "@longshore/syscalls";

// What lies at a path of the container is the container's choice, and on cgroup v2 its device filter does not
// hold yet for the child that opens it. To open a device, a FIFO or a file that is served by a program has
// effects of its own, so a path is first only pointed at (O_PATH), then its type is looked at, and what has the
// right type is opened by that descriptor: the path is not resolved again.

/** Bytes of a `struct stat`. */
const STAT_BYTES = 144;

/** Queue: the status of what a descriptor points at; to be asked for once the calls have been made. */
export function queueStatus(hand: Hand, fd: Slot): () => FileStatus {
  const { arena } = hand.calls;
  const at = arena.room(STAT_BYTES);
  hand.call("newfstatat", [fd, hand.text(""), arena.base + at, AT_EMPTY_PATH], { skipOnError: 0 });
  return () => parseStat(arena.bytes, at);
}

/**
 * Open what a descriptor of O_PATH points at, and run further calls with the new descriptor. The child opens it,
 * with its rights and ids; the procfs is that of the runtime, as the container's may be anything.
 *
 * @param use queues the further calls; `failed` is how many of them to skip when the open fails
 */
export function reopen(
  hand: Hand,
  fd: number,
  { flags, about, failed }: { flags: number; about: string; failed?: number },
  use: (opened: Slot) => void,
): void {
  const table = openFile(`/proc/${hand.pid}/fd`, O_PATH | O_DIRECTORY | O_CLOEXEC);
  try {
    const options = failed === undefined ? { about } : { about, skipOnError: failed };
    use(hand.call("openat", [table, hand.text(String(fd)), flags | O_CLOEXEC], options));
    hand.run();
  } finally {
    close(table);
    close(fd);
  }
}
