import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { tempDir } from "@longshore/testkit";
import { deviceLimitWarnings, hostLimits, limitWarnings } from "./host-limits.ts";

function put(root: string, file: string, text = ""): void {
  fs.mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
  fs.writeFileSync(path.join(root, file), text);
}

test("hostLimits() reads what version 1 has, and limitWarnings() tells of what is missing", () => {
  using dir = tempDir();
  for (const file of [
    "memory/memory.limit_in_bytes",
    "memory/memory.oom_control",
    "cpu/cpu.shares",
    "cpu/cpu.cfs_period_us",
    "pids/tasks",
  ])
    put(dir.path, file);
  const limits = hostLimits(dir.path);
  expect(limits).toEqual({
    ...{ MemoryLimit: true, SwapLimit: false, OomKillDisable: true, CpuCfsPeriod: true, CpuCfsQuota: false },
    ...{ CPUShares: true, CPUSet: false, PidsLimit: true, CgroupVersion: "1" },
  });
  expect(limitWarnings(limits)).toEqual([
    "WARNING: No swap limit support",
    "WARNING: No cpu cfs quota support",
    "WARNING: No cpuset support",
  ]);
});

test("hostLimits() of version 2 goes by the controllers, and by a group's file for swap", () => {
  using dir = tempDir();
  put(dir.path, "cgroup.controllers", "cpu memory pids\n");
  const before = hostLimits(dir.path);
  expect(before).toEqual({
    ...{ MemoryLimit: true, SwapLimit: false, OomKillDisable: false, CpuCfsPeriod: true, CpuCfsQuota: true },
    ...{ CPUShares: true, CPUSet: false, PidsLimit: true, CgroupVersion: "2" },
  });
  put(dir.path, "system.slice/memory.swap.max");
  put(dir.path, "cgroup.controllers", "cpu cpuset memory pids\n");
  expect(limitWarnings(hostLimits(dir.path))).toEqual([]);
});

test("deviceLimitWarnings() tells of files of version 1 that are missing, and of version 2 without its controller", () => {
  using dir = tempDir();
  for (const file of ["read_bps", "write_bps", "read_iops"])
    put(dir.path, `blkio/blkio.throttle.${file}_device`);
  expect(deviceLimitWarnings(dir.path)).toEqual(["WARNING: No blkio throttle.write_iops_device support"]);
  put(dir.path, "cgroup.controllers", "cpu io memory\n");
  expect(deviceLimitWarnings(dir.path)).toEqual([]);
  put(dir.path, "cgroup.controllers", "cpu memory\n");
  expect(deviceLimitWarnings(dir.path)).toEqual(
    [
      "io.weight",
      "io.weight (per device)",
      "io.max (rbps)",
      "io.max (wbps)",
      "io.max (riops)",
      "io.max (wiops)",
    ].map((what) => `WARNING: No ${what} support`),
  );
});
