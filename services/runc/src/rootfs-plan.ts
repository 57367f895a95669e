import type { Group } from "@longshore/cgroups";
import type { MountOptions } from "@longshore/mounts";
import type { IdMapping, Mount, Spec } from "@longshore/oci";
import type { Slot } from "@longshore/syscalls";
import type { Porter } from "./user-namespace.ts";

/** What the container's root file system is made from. */
export interface RootfsPlan {
  spec: Spec;
  mounts: { mount: Mount; options: MountOptions }[];
  /** Absolute, without links. */
  rootfs: string;
  bundle: string;
  group: Group;
  ownCgroupNamespace: boolean;
  noPivot: boolean;
  /** With a user namespace: brings what its root can't reach. */
  porter: Porter | undefined;
  /** Of the user namespace, for id-mapped mounts that don't say their own. */
  mappings: { uidMappings: IdMapping[]; gidMappings: IdMapping[] } | undefined;
  /** The pid namespace that a procfs shows, when it isn't that of the child which mounts it. */
  pidFd: number | undefined;
  /** Whether nodes of devices can't be made, and those of the host are bound instead. */
  bindDevices: boolean;
}

/** Mounts that become read-only when all is in place, as things are still made in them. */
export type LaterReadonly = { mount: Slot | number; destination: string }[];

/** `/a/../b//c/` as `/b/c`, without a look at the file system; `..` can't lead above the top. */
export function cleanDestination(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return `/${parts.join("/")}`;
}
