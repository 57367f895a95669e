import type { Rooted } from "@longshore/mounts";
import { errnoText, type Hand, MNT_DETACH, MS_MOVE, MS_REC, MS_SLAVE, readText } from "@longshore/syscalls";

/** Where a whole procfs or sysfs is mounted outside a directory, from a mountinfo (proc(5)). */
export function wholeKernelMounts(mountinfo: string, rootfs: string): string[] {
  const found: string[] = [];
  for (const line of mountinfo.split("\n")) {
    const [before = "", after = ""] = line.split(" - ");
    const [, , , root, point = ""] = before.split(" ");
    const [type] = after.split(" ");
    if (root !== "/" || (type !== "proc" && type !== "sysfs")) continue;
    const path = point.replace(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    if (path !== rootfs && !path.startsWith(`${rootfs}/`)) found.push(path);
  }
  return found;
}

/**
 * Queue: the root moved on top of the host's, for hosts that can't pivot_root(2) (their own is an initramfs). The host's mounts remain
 * below it: a whole procfs or sysfs among them would let the container mount one without the masks, so they go first.
 */
export function moveRoot(hand: Hand, rooted: Rooted, rootfs: string): void {
  hand.run();
  const none = hand.text("");
  for (const point of wholeKernelMounts(readText(`/proc/${hand.pid}/mountinfo`), rootfs)) {
    const at = hand.text(point);
    hand.calls.wording = (error) => `can't hide ${point}: ${errnoText(error.errno)}`;
    // Gone already, with one above it.
    hand.call("mount", [none, at, 0, MS_SLAVE | MS_REC, 0], { skipOnError: 1 });
    hand.call("umount2", [at, MNT_DETACH], {
      recover: (error) => {
        if (error.code !== "EINVAL" && error.code !== "EPERM") throw error;
        // Locked by a user namespace: covered instead.
        hand.call("mount", [hand.text("tmpfs"), at, hand.text("tmpfs"), 0, 0]);
        hand.run();
        return 0;
      },
    });
  }
  hand.calls.wording = (error) =>
    `error jailing process inside rootfs: ${error.syscall} ${rootfs}: ${errnoText(error.errno)}`;
  hand.call("fchdir", [rooted.root]);
  hand.call("mount", [hand.text("."), hand.text("/"), 0, MS_MOVE, 0]);
  hand.call("chroot", [hand.text(".")]);
}
