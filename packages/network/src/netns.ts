import fs from "node:fs";
import { isErrno } from "@longshore/errors";
import {
  CLONE_NEWNET,
  MNT_DETACH,
  MS_BIND,
  makeNetworkNamespaceOf,
  mount,
  setns,
  UMOUNT_NOFOLLOW,
  umount2,
  unshare,
} from "@longshore/syscalls";

const OWN_NETNS = "/proc/thread-self/ns/net";

let home: number | undefined;

/**
 * Run `work` with this thread in another network namespace, and come back. `work` must be synchronous and start no
 * thread: a thread would stay there.
 */
function bracket<T>(enter: () => void, work: () => T): T {
  home ??= fs.openSync(OWN_NETNS, "r");
  enter();
  try {
    return work();
  } finally {
    try {
      setns(home, CLONE_NEWNET);
    } catch {
      // Everything later in this process would happen in somebody else's network.
      process.abort();
    }
  }
}

/** Run synchronous `work` in the network namespace behind an open `ns/net` file. */
export function inNetns<T>(netns: number, work: () => T): T {
  return bracket(() => setns(netns, CLONE_NEWNET), work);
}

/**
 * Make a network namespace and run synchronous `prepare` in it. It lives as long as the file descriptor given to
 * `prepare`, which the caller closes from then on, or whatever else comes to refer to it.
 *
 * @param owner the user namespace that it belongs to; undefined: the host's
 */
export function createNetns<T>(prepare: (netns: number) => T, owner?: number): T {
  if (owner !== undefined) {
    const netns = makeNetworkNamespaceOf(owner);
    return bracket(
      () => {
        try {
          setns(netns, CLONE_NEWNET);
        } catch (error) {
          fs.closeSync(netns);
          throw error;
        }
      },
      () => prepare(netns),
    );
  }
  return bracket(
    () => unshare(CLONE_NEWNET),
    () => prepare(fs.openSync(OWN_NETNS, "r")),
  );
}

/** Keep a network namespace at a path, a new file of mode 0444, beyond its processes and descriptors. */
export function pinNetns(netns: number, path: string): void {
  fs.closeSync(fs.openSync(path, "wx", 0o444));
  try {
    mount({ source: `/proc/self/fd/${netns}`, target: path, flags: MS_BIND });
  } catch (error) {
    fs.unlinkSync(path);
    throw error;
  }
}

/** Undo `pinNetns`, also half of it. What is not there is no error. */
export function unpinNetns(path: string): void {
  try {
    // Once for each time it was mounted there.
    for (;;) umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
  } catch (error) {
    if (!isErrno(error, "EINVAL", "ENOENT")) throw error;
  }
  try {
    fs.unlinkSync(path);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}
