import { CGROUP_ROOT } from "@longshore/cgroups";
import {
  attach,
  attributesOf,
  cloneTree,
  type MountOptions,
  makeFileSystem,
  type Rooted,
  setAttributes,
  setPropagation,
} from "@longshore/mounts";
import type { Mount } from "@longshore/oci";
import {
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  type Slot,
} from "@longshore/syscalls";
import type { RootfsPlan } from "./rootfs-plan.ts";

/** Queue: the host's hierarchies as the container may see them: v2 as it is; v1 one directory each in a tmpfs. */
export function addCgroupMount(rooted: Rooted, plan: RootfsPlan, mount: Mount, options: MountOptions): void {
  if (plan.group.unified || mount.type === "cgroup2") addV2(rooted, plan, mount, options);
  else addV1(rooted, plan, mount, options);
}

function put(rooted: Rooted, made: Slot | number, path: string, { propagation }: MountOptions): void {
  const target = rooted.openOrMake(path, "directory");
  attach(rooted.hand, made, target, path);
  rooted.close(target);
  for (const each of propagation) setPropagation(rooted.hand, made, each);
  rooted.close(made);
}

function addV2(rooted: Rooted, plan: RootfsPlan, mount: Mount, options: MountOptions): void {
  const { hand } = rooted;
  const { destination, source = "cgroup" } = mount;
  const attributes = attributesOf(options.flags);
  // Root of a user namespace may not mount the hierarchy without a cgroup namespace of its own: it gets a bind.
  if (plan.porter && !plan.ownCgroupNamespace) {
    const copy = plan.porter.tree(CGROUP_ROOT, false);
    setAttributes(hand, copy, { set: attributes, clear: 0 }, { about: destination });
    put(rooted, copy, destination, options);
    return;
  }
  put(
    rooted,
    makeFileSystem(hand, "cgroup2", { source, options: options.data, attributes }),
    destination,
    options,
  );
}

function addV1(rooted: Rooted, plan: RootfsPlan, mount: Mount, options: MountOptions): void {
  const { hand } = rooted;
  const { destination } = mount;
  const plain = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  const attributes = attributesOf(options.flags);
  const view = (controllers: string[], path: string): Slot | number => {
    if (plan.ownCgroupNamespace) {
      const source = controllers[0]?.startsWith("name=") ? controllers[0].slice(5) : "cgroup";
      const only = plain | (attributes & MOUNT_ATTR_RDONLY);
      return makeFileSystem(hand, "cgroup", { source, options: controllers, attributes: only });
    }
    const made = plan.porter ? plan.porter.tree(path, true) : cloneTree(hand, path, { recursive: true });
    setAttributes(hand, made, { set: attributes, clear: 0 }, { about: destination });
    return made;
  };
  const top = makeFileSystem(hand, "tmpfs", {
    source: "tmpfs",
    options: ["mode=755"],
    attributes: plain,
  });
  const target = rooted.openOrMake(destination, "directory");
  attach(hand, top, target, destination);
  rooted.close(target);
  for (const propagation of options.propagation) setPropagation(hand, top, propagation);
  for (const { version, controllers, path } of plan.group.directories) {
    if (version !== 1) continue;
    // Named as the host's mount point is: `cpu,cpuacct`, `systemd`.
    const [directory = ""] = path.slice(CGROUP_ROOT.length + 1).split("/");
    put(rooted, view(controllers, path), `${destination}/${directory}`, options);
    for (const controller of controllers.length > 1 ? controllers : []) {
      hand.call("symlinkat", [hand.text(directory), top, hand.text(controller)], { skipOnError: 0 });
    }
  }
  if ((attributes & MOUNT_ATTR_RDONLY) !== 0) {
    setAttributes(hand, top, { set: MOUNT_ATTR_RDONLY, clear: 0 }, { about: destination });
  }
  rooted.close(top);
}
