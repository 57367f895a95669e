import fs from "node:fs";
import path from "node:path";
import { readOr } from "./host-facts.ts";

/** What the host's control groups can limit, with the names of `GET /info`. */
export interface HostLimits {
  MemoryLimit: boolean;
  SwapLimit: boolean;
  OomKillDisable: boolean;
  CpuCfsPeriod: boolean;
  CpuCfsQuota: boolean;
  CPUShares: boolean;
  CPUSet: boolean;
  PidsLimit: boolean;
  CgroupVersion: "1" | "2";
}

/** Files of version 1 that limit devices, each with what Docker calls them when they are missing. */
const DEVICE_LIMITS = {
  "throttle.read_bps_device": "io.max (rbps)",
  "throttle.write_bps_device": "io.max (wbps)",
  "throttle.read_iops_device": "io.max (riops)",
  "throttle.write_iops_device": "io.max (wiops)",
} as const;

/** Files of version 1, in the root of their hierarchies. */
const FILES = {
  MemoryLimit: "memory/memory.limit_in_bytes",
  SwapLimit: "memory/memory.memsw.limit_in_bytes",
  OomKillDisable: "memory/memory.oom_control",
  CpuCfsPeriod: "cpu/cpu.cfs_period_us",
  CpuCfsQuota: "cpu/cpu.cfs_quota_us",
  CPUShares: "cpu/cpu.shares",
  CPUSet: "cpuset/cpuset.cpus",
  PidsLimit: "pids",
} as const;

/** @param root where the control groups are mounted */
export function hostLimits(root = "/sys/fs/cgroup"): HostLimits {
  const has = (file: string) => fs.existsSync(path.join(root, file));
  if (!has("cgroup.controllers")) {
    const found = Object.entries(FILES).map(([name, file]) => [name, has(file)]);
    return { ...(Object.fromEntries(found) as Record<keyof typeof FILES, boolean>), CgroupVersion: "1" };
  }
  const controllers = fs.readFileSync(path.join(root, "cgroup.controllers"), "utf8").trim().split(" ");
  const [memory, cpu] = [controllers.includes("memory"), controllers.includes("cpu")];
  return {
    MemoryLimit: memory,
    // The root has no such file, its groups do where swap is counted.
    SwapLimit: memory && groupsOf(root).some((group) => has(path.join(group, "memory.swap.max"))),
    OomKillDisable: false,
    CpuCfsPeriod: cpu,
    CpuCfsQuota: cpu,
    CPUShares: cpu,
    CPUSet: controllers.includes("cpuset"),
    PidsLimit: controllers.includes("pids"),
    CgroupVersion: "2",
  };
}

function groupsOf(root: string): string[] {
  return fs
    .readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
}

const WARNINGS: readonly (readonly [keyof HostLimits, string])[] = [
  ["MemoryLimit", "No memory limit support"],
  ["SwapLimit", "No swap limit support"],
  ["OomKillDisable", "No oom kill disable support"],
  ["CpuCfsQuota", "No cpu cfs quota support"],
  ["CpuCfsPeriod", "No cpu cfs period support"],
  ["CPUShares", "No cpu shares support"],
  ["CPUSet", "No cpuset support"],
];

/** What users are warned of, in Docker's words. */
export function limitWarnings(limits: HostLimits): string[] {
  return WARNINGS.flatMap(([limit, words]) => {
    // Nobody can have that one on version 2.
    const isMissing = !limits[limit] && !(limit === "OomKillDisable" && limits.CgroupVersion === "2");
    return isMissing ? [`WARNING: ${words}`] : [];
  });
}

/** The same of what limits devices. */
export function deviceLimitWarnings(root = "/sys/fs/cgroup"): string[] {
  const controllers = readOr(path.join(root, "cgroup.controllers"), "");
  if (controllers !== "") {
    if (controllers.trim().split(" ").includes("io")) return [];
    const names = ["io.weight", "io.weight (per device)", ...Object.values(DEVICE_LIMITS)];
    return names.map((name) => `WARNING: No ${name} support`);
  }
  return Object.keys(DEVICE_LIMITS).flatMap((file) =>
    fs.existsSync(path.join(root, "blkio", `blkio.${file}`)) ? [] : [`WARNING: No blkio ${file} support`],
  );
}
