/** config-linux.md of the runtime specification: cgroupsPath and resources, with either version of cgroups. */
import { afterAll, afterEach, expect } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import {
  BASE_MOUNTS,
  CGROUP_MOUNT,
  controllers,
  it,
  type Patch,
  Playground,
  skipped,
  unified,
} from "./playground.ts";

const playground = new Playground();
afterEach(() => playground.clear());
afterAll(() => playground[Symbol.dispose]());

const MB = 1 << 20;
/** A disk of this machine, for limits by device. */
const disk = /^ +(\d+) +(\d+) +\d+ (?!loop|ram|zram)\w+$/m.exec(fs.readFileSync("/proc/partitions", "utf8"));
const [major, minor] = [Number(disk?.[1] ?? 0), Number(disk?.[2] ?? 0)];
const device = `${major}:${minor}`;

/** A file of a version 1 hierarchy or of the unified one, and what is in it afterwards; undefined: nothing like it there. */
type Seen = readonly [file: string, value: string | RegExp];

interface Row {
  name: string;
  resources: Patch;
  /** `controller/file` */
  v1?: Seen[];
  v2?: Seen[];
}

const throttle = (rate: number) => [{ major, minor, rate }];

const ROWS: Row[] = [
  {
    name: "memory.limit",
    resources: { memory: { limit: 64 * MB } },
    v1: [["memory/memory.limit_in_bytes", String(64 * MB)]],
    v2: [["memory.max", String(64 * MB)]],
  },
  {
    name: "memory.limit -1 is no limit",
    resources: { memory: { limit: -1 } },
    v1: [["memory/memory.limit_in_bytes", /^9223372036854771712$/]],
    v2: [["memory.max", "max"]],
  },
  {
    name: "memory.reservation",
    resources: { memory: { reservation: 32 * MB } },
    v1: [["memory/memory.soft_limit_in_bytes", String(32 * MB)]],
    v2: [["memory.low", String(32 * MB)]],
  },
  {
    name: "memory.swap is memory and swap together",
    resources: { memory: { limit: 64 * MB, swap: 96 * MB } },
    v1: [["memory/memory.memsw.limit_in_bytes", String(96 * MB)]],
    v2: [["memory.swap.max", String(32 * MB)]],
  },
  {
    name: "memory.swappiness",
    resources: { memory: { swappiness: 7 } },
    v1: [["memory/memory.swappiness", "7"]],
  },
  {
    name: "memory.disableOOMKiller",
    resources: { memory: { disableOOMKiller: true } },
    v1: [["memory/memory.oom_control", /^oom_kill_disable 1$/m]],
  },
  {
    name: "cpu.shares",
    resources: { cpu: { shares: 512 } },
    v1: [["cpu/cpu.shares", "512"]],
    // By the line of old runtimes, or the curve of newer ones.
    v2: [["cpu.weight", /^(20|59)$/]],
  },
  {
    name: "cpu.quota and cpu.period",
    resources: { cpu: { quota: 30_000, period: 60_000 } },
    v1: [
      ["cpu/cpu.cfs_quota_us", "30000"],
      ["cpu/cpu.cfs_period_us", "60000"],
    ],
    v2: [["cpu.max", "30000 60000"]],
  },
  {
    name: "cpu.burst",
    resources: { cpu: { quota: 30_000, period: 60_000, burst: 10_000 } },
    v1: [["cpu/cpu.cfs_burst_us", "10000"]],
    v2: [["cpu.max.burst", "10000"]],
  },
  {
    name: "cpu.idle",
    resources: { cpu: { idle: 1 } },
    v1: [["cpu/cpu.idle", "1"]],
    v2: [["cpu.idle", "1"]],
  },
  {
    name: "cpu.cpus and cpu.mems",
    resources: { cpu: { cpus: "0", mems: "0" } },
    v1: [
      ["cpuset/cpuset.cpus", "0"],
      ["cpuset/cpuset.mems", "0"],
    ],
    v2: [
      ["cpuset.cpus", "0"],
      ["cpuset.mems", "0"],
    ],
  },
  {
    name: "pids.limit",
    resources: { pids: { limit: 77 } },
    v1: [["pids/pids.max", "77"]],
    v2: [["pids.max", "77"]],
  },
  {
    name: "pids.limit -1 is no limit",
    resources: { pids: { limit: -1 } },
    v1: [["pids/pids.max", "max"]],
    v2: [["pids.max", "max"]],
  },
  {
    name: "blockIO.weight",
    resources: { blockIO: { weight: 500 } },
    v1: [["blkio/blkio.bfq.weight", /500/]],
    v2: [["io.bfq.weight", /500/]],
  },
  {
    name: "blockIO.throttle…Device",
    resources: {
      blockIO: {
        throttleReadBpsDevice: throttle(MB),
        throttleWriteBpsDevice: throttle(2 * MB),
        throttleReadIOPSDevice: throttle(300),
        throttleWriteIOPSDevice: throttle(400),
      },
    },
    v1: [
      ["blkio/blkio.throttle.read_bps_device", `${device} ${MB}`],
      ["blkio/blkio.throttle.write_bps_device", `${device} ${2 * MB}`],
      ["blkio/blkio.throttle.read_iops_device", `${device} 300`],
      ["blkio/blkio.throttle.write_iops_device", `${device} 400`],
    ],
    v2: [["io.max", `${device} rbps=${MB} wbps=${2 * MB} riops=300 wiops=400`]],
  },
  {
    name: "hugepageLimits",
    resources: { hugepageLimits: [{ pageSize: "2MB", limit: 4 * MB }] },
    v1: [["hugetlb/hugetlb.2MB.limit_in_bytes", String(4 * MB)]],
    v2: [["hugetlb.2MB.max", String(4 * MB)]],
  },
  {
    name: "network.classID",
    resources: { network: { classID: 0x10001 } },
    v1: [["net_cls/net_cls.classid", String(0x10001)]],
  },
  {
    name: "network.priorities",
    resources: { network: { priorities: [{ name: "lo", priority: 5 }] } },
    v1: [["net_prio/net_prio.ifpriomap", /^lo 5$/m]],
  },
  {
    name: "unified writes keys of version 2 as they are",
    resources: { unified: { "pids.max": "88", "cpu.weight": "77" } },
    v2: [
      ["pids.max", "88"],
      ["cpu.weight", "77"],
    ],
  },
];

function controllerOf(file: string): string {
  return unified ? (file.split(".")[0] ?? "") : (file.split("/")[0] ?? "");
}

/** Where a row's file is for a container with this cgroup. */
const fileIn = (group: string, file: string) =>
  unified
    ? path.join("/sys/fs/cgroup", group, file)
    : path.join("/sys/fs/cgroup", controllerOf(file), group, file.slice(file.indexOf("/") + 1));

for (const { name, resources, v1, v2 } of ROWS) {
  it(`linux.resources.${name}`, () => {
    const seen = unified ? v2 : v1;
    if (!seen) return skipped(`linux.resources.${name}: not in this version of cgroups`);
    const missing = seen.map(([file]) => controllerOf(file)).find((one) => !controllers.includes(one));
    if (missing !== undefined) return skipped(`linux.resources.${name}: controller ${missing} is not there`);
    const id = playground.id();
    const group = playground.groupOf(id);
    let running: ReturnType<typeof playground.start>;
    try {
      running = playground.start({ linux: { resources } }, { id });
    } catch (error) {
      // The block layer's schedulers and queues decide whether there are weights.
      if (/weight/.test(name) && !fs.existsSync(fileIn(group, seen[0]?.[0] ?? "")))
        return skipped(`linux.resources.${name}: ${error}`);
      throw error;
    }
    using container = running;
    for (const [file, value] of seen) {
      if (/weight/.test(name) && !fs.existsSync(fileIn(group, file)))
        return skipped(`linux.resources.${name}: the block layer has no such scheduler`);
      const text = fs.readFileSync(fileIn(group, file), "utf8").trim();
      if (typeof value === "string") expect({ file, text }).toEqual({ file, text: value });
      else expect(text).toMatch(value);
    }
    expect(container.state().status).toBe("running");
  });
}

it.each([
  ["a processor that isn't there", { cpu: { cpus: "9999" } }, /cpuset\.cpus|cpus/, "cpuset"],
  ["a node that isn't there", { cpu: { mems: "99" } }, /cpuset\.mems|mems/, "cpuset"],
  [
    "a period that is too short",
    { cpu: { quota: 500, period: 500 } },
    /cfs_quota|cfs_period|cpu\.max/,
    "cpu",
  ],
  [
    "a page size that isn't there",
    { hugepageLimits: [{ pageSize: "3MB", limit: 1 }] },
    /3MB|hugetlb|hugepage/i,
    "hugetlb",
  ],
  [
    "a device that isn't there",
    { blockIO: { throttleReadBpsDevice: [{ major: 4095, minor: 77, rate: 1 }] } },
    /4095:77|throttle|io\.max/,
    unified ? "io" : "blkio",
  ],
  ["a key that isn't there", { unified: { "pids.no-such-key": "1" } }, /unified|no-such-key/, "pids"],
])("linux.resources with %s are refused, and nothing is left", (what, resources, words, controller) => {
  if (!controllers.includes(controller)) return skipped(`${what}: controller ${controller} is not there`);
  const { code, stderr } = playground.run({ linux: { resources } });
  expect(code).not.toBe(0);
  // What has come as far as the user's program is killed there.
  if (code !== 137) expect(stderr).toMatch(words);
  expect(playground.leftovers()).toEqual([]);
});

it("linux.resources.memory.limit that is less than what a process takes is refused, or kills the process alone", () => {
  if (!controllers.includes("memory")) return skipped("memory.limit that is too low: no controller");
  for (const limit of [4096, 65536, MB]) {
    const { code, stderr } = playground.run({ linux: { resources: { memory: { limit } } } });
    if (code !== 0 && code !== 137) expect(stderr).toMatch(/level=error.*(memory|OOM|has stopped)/);
    expect({ limit, left: playground.leftovers() }).toEqual({ limit, left: [] });
  }
});

it("linux.resources.unified is refused without cgroup v2", () => {
  if (unified) return skipped("unified without cgroup v2: this is cgroup v2");
  const { code, stderr } = playground.run({
    linux: { resources: { unified: { "memory.max": "1000000000" } } },
  });
  expect(code).toBe(1);
  expect(stderr).toMatch(/unified/);
});

it("linux.resources.pids.limit holds", () => {
  if (!controllers.includes("pids")) return skipped("pids.limit holds: no controller");
  const script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 100 & done; true";
  const { stderr } = playground.script(script, { linux: { resources: { pids: { limit: 8 } } } });
  expect(stderr).toMatch(/can't fork/);
  expect(playground.leftovers()).toEqual([]);
});

it("linux.resources.memory.limit holds: 137 when the process is killed for it", () => {
  if (!controllers.includes("memory")) return skipped("memory.limit holds: no controller");
  const { code } = playground.run({
    process: { args: ["tail", "/dev/zero"] },
    linux: { resources: { memory: { limit: 16 * MB } } },
  });
  expect(code).toBe(137);
  expect(playground.leftovers()).toEqual([]);
});

it("linux.cgroupsPath: every process of the container is there, exec's too; another path elsewhere", () => {
  const id = playground.id();
  using container = playground.start({}, { id });
  for (const [, dir] of container.groups()) expect(dir).toEndWith(playground.groupOf(id));
  const inside = container.script("cat /proc/self/cgroup").stdout;
  expect(inside).not.toContain(playground.groupOf(id));
  for (const line of inside.trim().split("\n")) expect(line).toEndWith(":/");
});

it.each([
  ["relative", (group: string) => group.slice(1)],
  ["with ..", (group: string) => `/../..${group}/../${path.basename(group)}`],
  ["with slashes", (group: string) => `//${group.slice(1)}//`],
] as const)(
  "linux.cgroupsPath that is %s stays below the mounts of cgroups",
  (_, change: (group: string) => string) => {
    const id = playground.id();
    const group = playground.groupOf(id);
    using container = playground.start({ linux: { cgroupsPath: change(group) } }, { id });
    for (const [, dir] of container.groups()) expect(dir).toEndWith(group);
  },
);

it("linux.cgroupsPath left out is a group of the runtime's choice, gone with the container", () => {
  const id = `chosen-${process.pid}`;
  using container = playground.start({ linux: { cgroupsPath: undefined } }, { id });
  const groups = [...container.groups().values()];
  for (const dir of groups) expect(dir).toContain(id);
  playground.must("delete", "--force", id);
  expect(groups.filter((dir) => fs.existsSync(dir))).toEqual([]);
});

it("mounts[].type cgroup shows the container its own groups, and lets it write none", () => {
  const { stdout } = playground.script(
    `ls /sys/fs/cgroup; cat /sys/fs/cgroup/${unified ? "" : "pids/"}cgroup.procs | head -1; mkdir /sys/fs/cgroup/${unified ? "" : "pids/"}x 2>&1`,
    { mounts: [...BASE_MOUNTS, CGROUP_MOUNT] },
  );
  expect(stdout).toContain(unified ? "cgroup.procs" : "pids");
  expect(stdout).toMatch(/^1$/m);
  expect(stdout).toContain("Read-only file system");
});

it("update changes limits while it runs, by flags and by a file", () => {
  const id = playground.id();
  using container = playground.start({}, { id });
  const has = (name: string) => controllers.includes(name);
  const read = (v1: string, v2: string) =>
    fs.readFileSync(fileIn(playground.groupOf(id), unified ? v2 : v1), "utf8").trim();
  if (has("pids")) {
    playground.must("update", "--pids-limit", "60", id);
    expect(read("pids/pids.max", "pids.max")).toBe("60");
  }
  if (has("memory")) {
    playground.must("update", "--memory", "128M", id);
    expect(read("memory/memory.limit_in_bytes", "memory.max")).toBe(String(128 * MB));
  }
  if (has("cpu")) {
    playground.must("update", "--cpu-quota", "20000", "--cpu-period", "50000", id);
    expect(read("cpu/cpu.cfs_quota_us", "cpu.max")).toBe(unified ? "20000 50000" : "20000");
    const { code, stderr } = playground.command(["update", "-r", "-", id], {
      stdin: JSON.stringify({ cpu: { quota: 25_000, period: 50_000 } }),
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(read("cpu/cpu.cfs_quota_us", "cpu.max")).toBe(unified ? "25000 50000" : "25000");
  }
  expect(playground.command(["update", "--pids-limit", "many", id]).code).toBe(1);
  expect(playground.command(["update", "-r", "-", id], { stdin: "{" }).code).toBe(1);
  expect(container.state().status).toBe("running");
});

it("pause freezes every process, resume lets them go on", () => {
  using container = playground.start({
    process: { args: ["sh", "-c", "while :; do echo x >> /tmp/ticks; usleep 10000; done"] },
  });
  const ticks = path.join(playground.rootfs, "tmp/ticks");
  const size = () => (fs.existsSync(ticks) ? fs.statSync(ticks).size : 0);
  const grows = (during: number) => {
    const before = size();
    Bun.sleepSync(during);
    return size() > before;
  };
  while (size() === 0) Bun.sleepSync(5);
  playground.must("pause", container.id);
  expect(container.state().status).toBe("paused");
  expect(grows(60)).toBe(false);
  playground.must("resume", container.id);
  while (!grows(20));
  playground.must("pause", container.id);
  playground.must("delete", "--force", container.id);
  expect(playground.leftovers()).toEqual([]);
  fs.rmSync(ticks);
});

it("kill --all reaches every process of the group, also without a pid namespace", () => {
  const namespaces = ["network", "ipc", "uts", "mount", "cgroup"].map((type) => ({ type }));
  using container = playground.start({
    process: { args: ["sh", "-c", "sleep 1001 & sleep 1002 & sleep 1003 & wait"] },
    linux: { namespaces },
  });
  const ps = () => JSON.parse(playground.must("ps", "--format", "json", container.id)) as number[];
  while (ps().length < 4) Bun.sleepSync(5);
  playground.must("kill", "--all", container.id, "KILL");
  while (container.state().status !== "stopped") Bun.sleepSync(5);
  playground.must("delete", container.id);
  expect(playground.leftovers()).toEqual([]);
});

it("events --stats tells what the container uses", () => {
  using container = playground.start();
  const event = JSON.parse(playground.must("events", "--stats", container.id)) as {
    type: string;
    id: string;
    data: { pids?: { current: number } };
  };
  expect(event).toMatchObject({ type: "stats", id: container.id });
  if (controllers.includes("pids")) expect(event.data.pids?.current).toBe(1);
});
