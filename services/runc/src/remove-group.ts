import type { Group } from "@longshore/cgroups";
import { systemd } from "./load.ts";

/** Remove a container's cgroup, and the unit that it belongs to. Done twice it does nothing. */
export function removeGroup(group: Group): void {
  if (group.unit !== undefined) systemd().stopUnit(group.unit);
  group.remove();
}
