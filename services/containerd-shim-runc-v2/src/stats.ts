import type { Any } from "@longshore/api/google/protobuf/any";
import type { ContainerCgroup } from "./cgroup.ts";
import { readStats1 } from "./stats-v1.ts";
import { readStats2 } from "./stats-v2.ts";

/** A container's usage as containerd's `Any` of metrics, for the cgroup version that this machine has. */
export function readStats(cgroup: ContainerCgroup): Any {
  return cgroup.version === 1 ? readStats1(cgroup.paths) : readStats2(cgroup.path);
}
