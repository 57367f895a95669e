import { expect, test } from "bun:test";
import { blkioToIoWeight, sharesToWeight, swapMax } from "./convert.ts";
import { deviceProgram } from "./device-program.ts";
import { accessText, devicePolicy, devicesWrites } from "./device-rules.ts";
import { parseHierarchies, parseOwnGroups } from "./hierarchies.ts";
import { cleanPath, groupPath } from "./paths.ts";
import { type Plan, settingsV1, settingsV2 } from "./settings.ts";
import { parseFlat, statsJson } from "./stats.ts";

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
    own: "/me/here",
  };
  expect(groupPath(hierarchy, "/longshore/a")).toBe("/sys/fs/cgroup/memory/longshore/a");
  expect(groupPath(hierarchy, "a")).toBe("/sys/fs/cgroup/memory/me/here/a");
  expect(groupPath(hierarchy, "a", true)).toBe("/sys/fs/cgroup/memory/me/a");
  expect(groupPath({ ...hierarchy, own: "/" }, "a", true)).toBe("/sys/fs/cgroup/memory/a");
  expect(groupPath(hierarchy, "/../../../etc")).toBe("/sys/fs/cgroup/memory/etc");
  expect(cleanPath("a//b/./../c/")).toBe("/a/c");
});

test("conversions to v2 meet the ends of their ranges, and defaults meet defaults", () => {
  expect([0, 1, 2, 1024, 262144, 300000].map(sharesToWeight)).toEqual([0, 1, 1, 100, 10000, 10000]);
  expect([0, 10, 500, 1000].map(blkioToIoWeight)).toEqual([0, 1, 4950, 10000]);
});

test("swapMax() takes memory out of the sum, and refuses what makes no sense", () => {
  expect(swapMax(-1, 5)).toBe("max");
  expect(swapMax(30, 10)).toBe("20");
  expect(swapMax(10, 10)).toBe("0");
  expect(swapMax(undefined, 1)).toBeUndefined();
  expect(swapMax(undefined, -1)).toBe("max");
  expect(swapMax(7, -1)).toBe("7");
  expect(() => swapMax(5, 10)).toThrow("memory+swap limit should be >= memory limit");
  expect(() => swapMax(5)).toThrow("unable to set swap limit without memory limit");
});

const text = ({ settings }: Plan) => settings.map(({ file, value }) => `${file}=${value}`);

test("settingsV1() and settingsV2() say the same in the words of each", () => {
  const resources = {
    memory: { limit: 1024, swap: 2048, reservation: 512 },
    cpu: { shares: 2048, quota: 50000, period: 100000, burst: 1000, idle: 0, cpus: "0", mems: "0" },
    pids: { limit: -1 },
    hugepageLimits: [{ pageSize: "2MB", limit: 4096 }],
    network: { classID: 7, priorities: [{ name: "lo", priority: 3 }] },
    rdma: { mlx5_1: { hcaHandles: 3 }, mlx5_2: { hcaObjects: 10 } },
    blockIO: {
      weight: 100,
      leafWeight: 20,
      weightDevice: [{ major: 8, minor: 0, weight: 50, leafWeight: 60 }],
      throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 1000 }],
      throttleWriteBpsDevice: [{ major: 8, minor: 0, rate: 2 ** 63 }],
      throttleWriteIOPSDevice: [{ major: 8, minor: 1, rate: 10 }],
    },
  };
  expect(text(settingsV1(resources))).toEqual([
    "cpuset.cpus=0",
    "cpuset.mems=0",
    "memory.limit_in_bytes=1024",
    "memory.memsw.limit_in_bytes=2048",
    "memory.soft_limit_in_bytes=512",
    "cpu.shares=2048",
    "cpu.cfs_period_us=100000",
    "cpu.cfs_burst_us=1000",
    "cpu.cfs_quota_us=50000",
    "cpu.idle=0",
    "pids.max=max",
    "blkio.weight=100",
    "blkio.leaf_weight=20",
    "blkio.weight_device=8:0 50",
    "blkio.leaf_weight_device=8:0 60",
    "blkio.throttle.read_bps_device=8:0 1000",
    "blkio.throttle.write_bps_device=8:0 9223372036854775807",
    "blkio.throttle.write_iops_device=8:1 10",
    "hugetlb.2MB.limit_in_bytes=4096",
    "hugetlb.2MB.rsvd.limit_in_bytes=4096",
    "net_cls.classid=7",
    "net_prio.ifpriomap=lo 3",
    "rdma.max=mlx5_1 hca_handle=3",
    "rdma.max=mlx5_2 hca_object=10",
  ]);
  expect(text(settingsV2(resources))).toEqual([
    "pids.max=max",
    "memory.swap.max=1024",
    "memory.max=1024",
    "memory.low=512",
    "io.bfq.weight=100",
    "io.bfq.weight=8:0 50",
    "io.max=8:0 rbps=1000",
    "io.max=8:0 wbps=max",
    "io.max=8:1 wiops=10",
    "cpu.idle=0",
    "cpu.weight=174",
    "cpu.max.burst=1000",
    "cpu.max=50000 100000",
    "cpuset.cpus=0",
    "cpuset.mems=0",
    "hugetlb.2MB.max=4096",
    "hugetlb.2MB.rsvd.max=4096",
    "rdma.max=mlx5_1 hca_handle=3",
    "rdma.max=mlx5_2 hca_object=10",
  ]);
});

test("settingsV1() refuses what the kernel would silently change", () => {
  expect(() => settingsV1({ cpu: { shares: 1 } })).toThrow("the minimum allowed cpu-shares is 2");
  expect(() => settingsV1({ cpu: { shares: 300000 } })).toThrow("the maximum allowed cpu-shares is 262144");
  expect(() => settingsV1({ memory: { swappiness: 101 } })).toThrow("invalid memory swappiness value: 101");
  // −1 as an engine written in Go sends it: nothing is asked for.
  expect(settingsV1({ memory: { swappiness: 2 ** 64 - 1 } }).settings).toEqual([]);
});

test("settingsV1() and settingsV2() say what they leave alone", () => {
  const words = ["Kernel memory settings are ignored and will be removed"];
  expect(settingsV1({ memory: { kernel: 5 } }).warnings).toEqual(words);
  expect(settingsV2({ memory: { kernelTCP: 5 } }).warnings).toEqual(words);
});

const DENY_ALL = { allow: false, access: "rwm" };
const NULL_DEVICE = { allow: true, type: "c", major: 1, minor: 3, access: "rwm" };

test("devicePolicy() leaves the rules that count", () => {
  const policy = devicePolicy([
    NULL_DEVICE,
    DENY_ALL,
    NULL_DEVICE,
    { ...NULL_DEVICE, access: "r" },
    { allow: true, type: "b", major: 8, access: "r" },
    { allow: false, type: "c", major: 1, minor: 3, access: "w" },
    { allow: false, type: "c", major: 7, minor: 7, access: "w" },
  ]);
  expect(devicesWrites(policy)).toEqual([
    ["devices.deny", "a"],
    ["devices.allow", "c 1:3 rm"],
    ["devices.allow", "b 8:* r"],
  ]);
  expect(devicesWrites(devicePolicy([{ allow: true }, { ...NULL_DEVICE, allow: false }]))).toEqual([
    ["devices.allow", "a"],
    ["devices.deny", "c 1:3 rwm"],
  ]);
  expect(accessText(7)).toBe("rwm");
});

test("devicePolicy() refuses to take one device out of a wildcard, which v1 would silently ignore", () => {
  const wildcard = { allow: true, type: "c", major: 1, access: "rwm" };
  expect(() => devicePolicy([DENY_ALL, wildcard, { ...NULL_DEVICE, allow: false }])).toThrow(
    "cannot punch hole in existing wildcard rule",
  );
});

/** Run a device program as the kernel would. */
function allowed(program: Buffer, type: "b" | "c", access: string, major: number, minor: number): boolean {
  const bits = [...access].reduce((sum, letter) => sum | (1 << "mrw".indexOf(letter)), 0);
  const context = [(type === "b" ? 1 : 2) | (bits << 16), major, minor];
  const r = Array<number>(11).fill(0);
  for (let at = 0; ; at++) {
    const code = program.readUInt8(at * 8);
    const registers = program.readUInt8(at * 8 + 1);
    const [to, from] = [registers & 15, registers >> 4];
    const offset = program.readInt16LE(at * 8 + 2);
    const value = program.readInt32LE(at * 8 + 4);
    if (code === 0x61) r[to] = context[offset / 4] ?? 0;
    else if (code === 0xbf) r[to] = r[from] ?? 0;
    else if (code === 0xb7) r[to] = value;
    else if (code === 0x57) r[to] = (r[to] ?? 0) & value;
    else if (code === 0x77) r[to] = (r[to] ?? 0) >>> value;
    else if (code === 0x55) at += r[to] !== value ? offset : 0;
    else if (code === 0x15) at += r[to] === value ? offset : 0;
    else if (code === 0x95) return r[0] === 1;
    else throw new Error(`unknown instruction ${code}`);
  }
}

test("deviceProgram() allows nothing but its exceptions, or everything but them", () => {
  const list = devicePolicy([
    DENY_ALL,
    NULL_DEVICE,
    { allow: true, type: "c", major: 5, access: "rw" },
    { allow: true, type: "b", minor: 2, access: "m" },
  ]);
  const strict = deviceProgram(list);
  expect(allowed(strict, "c", "rwm", 1, 3)).toBe(true);
  expect(allowed(strict, "b", "r", 1, 3)).toBe(false);
  expect(allowed(strict, "c", "r", 1, 4)).toBe(false);
  expect(allowed(strict, "c", "rw", 5, 99)).toBe(true);
  expect(allowed(strict, "c", "rwm", 5, 99)).toBe(false);
  expect(allowed(strict, "b", "m", 77, 2)).toBe(true);
  const loose = deviceProgram(
    devicePolicy([
      { allow: true },
      { ...NULL_DEVICE, allow: false, access: "w" },
      { allow: false, type: "b", access: "rwm" },
    ]),
  );
  expect(allowed(loose, "c", "r", 1, 3)).toBe(true);
  expect(allowed(loose, "c", "rw", 1, 3)).toBe(false);
  expect(allowed(loose, "b", "r", 8, 0)).toBe(false);
});

test("parseFlat() and statsJson() keep numbers that a double can't hold", () => {
  const flat = parseFlat("limit 9223372036854771712\nsmall 5\nno number here\n");
  expect(flat.small).toBe(5);
  expect(statsJson(flat)).toBe('{"limit":9223372036854771712,"small":5}');
});
