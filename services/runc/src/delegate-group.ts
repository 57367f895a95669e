import { isErrno } from "@longshore/errors";
import { lchown, MS_RDONLY, readTextIfExists } from "@longshore/syscalls";
import { cleanDestination, type RootfsPlan } from "./rootfs-plan.ts";

/**
 * Give a container its cgroup of v2, with what the kernel says belongs to a delegation, when it has a cgroup namespace of its own and may
 * write to the hierarchy: its process's user could otherwise make no groups below.
 */
export function delegateGroup({ group, mounts, mappings, spec }: RootfsPlan): void {
  const path = group.unified ? group.unifiedPath : undefined;
  const writable = mounts.some(
    ({ mount: { source, destination }, options }) =>
      source === "cgroup" &&
      cleanDestination(destination) === "/sys/fs/cgroup" &&
      (options.flags & MS_RDONLY) === 0,
  );
  if (path === undefined || !writable) return;
  const uid = spec.process?.user?.uid ?? 0;
  const range = mappings?.uidMappings.find(
    ({ containerID, size }) => uid >= containerID && uid < containerID + size,
  );
  if (mappings && !range) return; // refused where the process gets its user
  const owner = range ? range.hostID + uid - range.containerID : uid;
  if (owner === 0) return;
  const files = readTextIfExists("/sys/kernel/cgroup/delegate")?.trim().split("\n");
  for (const file of ["", ...(files ?? ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"])]) {
    try {
      lchown(file === "" ? path : `${path}/${file}`, owner, -1);
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error; // of a controller that isn't enabled here
    }
  }
}
