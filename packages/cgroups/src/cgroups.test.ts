import { expect, test } from "bun:test";
import { deviceProgram } from "./device-program.ts";
import {
  blkioToIoWeight,
  cleanPath,
  deviceRuleText,
  groupPath,
  parseHierarchies,
  parseOwnGroups,
  settingsV1,
  settingsV2,
  sharesToWeight,
  swapMax,
} from "./index.ts";

const OWN = "3:memory:/me\n2:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n";
const MOUNTINFO = [
  "20 1 0:1 / /sys/fs/cgroup rw - tmpfs tmpfs rw",
  "21 20 0:2 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct",
  "22 20 0:3 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
  "23 20 0:4 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd",
  "24 20 0:5 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
  "25 20 0:3 / /elsewhere/memory rw - cgroup cgroup rw,memory",
].join("\n");

test("parseHierarchies() finds each hierarchy once, with our own group in it", () => {
  const found = parseHierarchies(MOUNTINFO, parseOwnGroups(OWN));
  expect(found.map(({ version, mountpoint, own }) => [version, mountpoint, own])).toEqual([
    [1, "/sys/fs/cgroup/cpu,cpuacct", "/"],
    [1, "/sys/fs/cgroup/memory", "/me"],
    [1, "/sys/fs/cgroup/systemd", "/"],
    [2, "/sys/fs/cgroup/unified", "/"],
  ]);
});

test("groupPath() starts at the mount for absolute paths, at our own group otherwise, and never leaves it", () => {
  const hierarchy = {
    version: 1 as const,
    mountpoint: "/sys/fs/cgroup/memory",
    controllers: ["memory"],
    own: "/me",
  };
  expect(groupPath(hierarchy, "/longshore/a")).toBe("/sys/fs/cgroup/memory/longshore/a");
  expect(groupPath(hierarchy, "a")).toBe("/sys/fs/cgroup/memory/me/a");
  expect(groupPath(hierarchy, "/../../../etc")).toBe("/sys/fs/cgroup/memory/etc");
  expect(cleanPath("a//b/./../c/")).toBe("/a/c");
});

test("conversions to v2 meet the ends of their ranges", () => {
  expect([0, 2, 1024, 262144].map(sharesToWeight)).toEqual([0, 1, 39, 10000]);
  expect([0, 10, 1000].map(blkioToIoWeight)).toEqual([0, 1, 10000]);
  expect([swapMax(-1, 5), swapMax(30, 10), swapMax(undefined, 1)]).toEqual(["max", "20", undefined]);
  expect(() => swapMax(5, 10)).toThrow("memory+swap");
});

test("settingsV1() and settingsV2() say the same in the words of each", () => {
  const resources = {
    memory: { limit: 1024, swap: 2048 },
    cpu: { quota: 50000, period: 100000 },
    pids: { limit: -1 },
  };
  const text = (settings: ReturnType<typeof settingsV1>) =>
    settings.map(({ file, value }) => `${file}=${value}`);
  expect(text(settingsV1(resources))).toEqual([
    "memory.limit_in_bytes=1024",
    "memory.memsw.limit_in_bytes=2048",
    "cpu.cfs_period_us=100000",
    "cpu.cfs_quota_us=50000",
    "pids.max=max",
  ]);
  expect(text(settingsV2(resources))).toEqual([
    "memory.swap.max=1024",
    "memory.max=1024",
    "cpu.max=50000 100000",
    "pids.max=max",
  ]);
});

test("deviceRuleText() and deviceProgram() carry wildcards", () => {
  expect(deviceRuleText({ allow: false, access: "rwm" })).toBe("a");
  expect(deviceRuleText({ type: "c", major: 5, access: "rw" })).toBe("c 5:* rw");
  const deny = { allow: false, type: "a" };
  // Six instructions of preparation, two for the verdict of the rule that fits everything.
  expect(deviceProgram([deny]).length).toBe(8 * 8);
  expect(deviceProgram([deny, { allow: true, type: "c", major: 1, minor: 3, access: "rwm" }]).length).toBe(
    8 * 13,
  );
});
