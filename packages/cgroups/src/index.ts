export { type PlannedGroup, planGroup } from "./create-group.ts";
export { Group, type GroupDirectory, type GroupState } from "./group.ts";
export { CGROUP_ROOT } from "./hierarchies.ts";
export { applyResources } from "./limits.ts";
export { checkRdt, joinRdt, leaveRdt, type RdtState, resctrlRoot, updateRdt } from "./resctrl.ts";
export { containerStats, statsJson } from "./stats.ts";
