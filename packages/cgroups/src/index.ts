export { blkioToIoWeight, limitText, plain, sharesToWeight, swapMax } from "./convert.ts";
export { cleanPath, Group, type GroupDirectory, type GroupState, groupPath } from "./group.ts";
export {
  CGROUP_ROOT,
  type Hierarchy,
  hierarchies,
  isUnified,
  parseHierarchies,
  parseOwnGroups,
} from "./hierarchies.ts";
export { deviceRuleText, type Setting, settingsV1, settingsV2 } from "./settings.ts";
export { containerStats, parseFlat } from "./stats.ts";
