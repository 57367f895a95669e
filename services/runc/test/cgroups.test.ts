/** Limits in the kernel's files, in v1 as on this machine and in v2 inside a mount namespace where the unified hierarchy is bound. */
import { afterAll, afterEach, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { eventually } from "@longshore/testkit";
import { it as always, missing, type Patch, Playground, runc, skipped, unified } from "./playground.ts";

const playground = new Playground();
afterAll(() => playground[Symbol.dispose]());
afterEach(() => playground.clear());

const it = unified ? test.skip : always;
const cgroup = (controller: string, id: string) =>
  path.join("/sys/fs/cgroup", controller, playground.groupOf(id));
const read = (controller: string, id: string, file: string) =>
  fs.readFileSync(path.join(cgroup(controller, id), file), "utf8").trim();
const has = (controller: string) => fs.existsSync(path.join("/sys/fs/cgroup", controller));
const limits = (resources: Patch): Patch => ({ linux: { resources } });

const block = fs.existsSync("/sys/block")
  ? fs
      .readdirSync("/sys/block")
      .map((name) => `/sys/block/${name}/dev`)
      .find((file) => fs.existsSync(file))
  : undefined;
const [major = 0, minor = 0] = block ? fs.readFileSync(block, "utf8").trim().split(":").map(Number) : [];

it("create writes every limit of the specification into v1's files", () => {
  const device = [{ major, minor, rate: 1 << 20 }];
  using created = playground.create(
    limits({
      memory: {
        limit: 96 << 20,
        swap: 128 << 20,
        reservation: 64 << 20,
        swappiness: 30,
        kernelTCP: 32 << 20,
      },
      cpu: { shares: 512, quota: 30_000, period: 60_000, burst: 10_000, cpus: "0", mems: "0" },
      pids: { limit: 33 },
      blockIO: block ? { throttleReadBpsDevice: device, throttleWriteIOPSDevice: device } : {},
    }),
  );
  const { id } = created;
  expect(read("memory", id, "memory.limit_in_bytes")).toBe(String(96 << 20));
  expect(read("memory", id, "memory.memsw.limit_in_bytes")).toBe(String(128 << 20));
  expect(read("memory", id, "memory.soft_limit_in_bytes")).toBe(String(64 << 20));
  expect(read("memory", id, "memory.swappiness")).toBe("30");
  expect(read("memory", id, "memory.kmem.tcp.limit_in_bytes")).toBe(String(32 << 20));
  expect(read("cpu", id, "cpu.shares")).toBe("512");
  expect(read("cpu", id, "cpu.cfs_quota_us")).toBe("30000");
  expect(read("cpu", id, "cpu.cfs_period_us")).toBe("60000");
  expect(read("cpu", id, "cpu.cfs_burst_us")).toBe("10000");
  expect(read("cpuset", id, "cpuset.cpus")).toBe("0");
  expect(read("pids", id, "pids.max")).toBe("33");
  if (block) {
    expect(read("blkio", id, "blkio.throttle.read_bps_device")).toBe(`${major}:${minor} ${1 << 20}`);
    expect(read("blkio", id, "blkio.throttle.write_iops_device")).toBe(`${major}:${minor} ${1 << 20}`);
  }
});

it("create sets what is on or off, and no limit as the biggest number", () => {
  using created = playground.create(
    limits({ memory: { limit: -1, disableOOMKiller: true }, cpu: { idle: 1 }, pids: { limit: -1 } }),
  );
  expect(read("memory", created.id, "memory.oom_control")).toContain("oom_kill_disable 1");
  expect(Number(read("memory", created.id, "memory.memsw.limit_in_bytes"))).toBeGreaterThan(2 ** 60);
  expect(read("cpu", created.id, "cpu.idle")).toBe("1");
  expect(read("pids", created.id, "pids.max")).toBe("max");
});

it("update moves limits that depend on each other up and down, whichever must go first", () => {
  using created = playground.start(
    limits({ memory: { limit: 64 << 20, swap: 80 << 20 }, cpu: { quota: 50_000, period: 100_000 } }),
  );
  const { id } = created;
  for (const [memory, swap] of [
    [200, 300],
    [20, 30],
    [100, -1],
    [50, 60],
  ] as const) {
    playground.must("update", "--memory", `${memory}M`, "--memory-swap", swap < 0 ? "-1" : `${swap}M`, id);
    expect(read("memory", id, "memory.limit_in_bytes")).toBe(String(memory << 20));
    const now = Number(read("memory", id, "memory.memsw.limit_in_bytes"));
    if (swap < 0) expect(now).toBeGreaterThan(2 ** 60);
    else expect(now).toBe(swap << 20);
  }
  playground.must("update", "--cpu-period", "20000", "--cpu-quota", "10000", "--cpu-burst", "5000", id);
  expect(read("cpu", id, "cpu.cfs_period_us")).toBe("20000");
  playground.must("update", "--cpu-quota", "-1", "--cpu-share", "100", "--cpu-burst", "0", id);
  expect(read("cpu", id, "cpu.cfs_quota_us")).toBe("-1");
  const file = path.join(playground.dir, "limits.json");
  fs.writeFileSync(file, JSON.stringify({ pids: { limit: 44 }, devices: [{ allow: true, access: "rwm" }] }));
  const before = read("devices", id, "devices.list");
  playground.must("update", "--resources", file, id);
  expect(read("pids", id, "pids.max")).toBe("44");
  expect(read("devices", id, "devices.list")).toBe(before);
  const result = playground.command(["update", "-r", "-", id], { stdin: '{"pids":{"limit":0}}' });
  expect(result).toEqual({ code: 0, stdout: "", stderr: "" });
  expect(read("pids", id, "pids.max")).toBe("1");
});

it.each([
  [
    ["--cpu-share", "abc"],
    'invalid value for cpu-share: strconv.ParseUint: parsing \\"abc\\": invalid syntax',
  ],
  [
    ["--cpu-quota", "1.5"],
    'invalid value for cpu-quota: strconv.ParseInt: parsing \\"1.5\\": invalid syntax',
  ],
  [["--memory", "5x"], "invalid value for memory: invalid size: '5x'"],
  [["--pids-limit", "many"], 'invalid value \\"many\\" for flag -pids-limit: parse error'],
  [["--cpu-share", "1"], "the minimum allowed cpu-shares is 2"],
  [["--cpuset-cpus", "9999"], "cpuset.cpus: "],
  [["--l3-cache-schema", "L3:0=f"], "Intel RDT/CAT: l3 cache schema is not enabled"],
  [["--mem-bw-schema", "MB:0=20"], "Intel RDT/MBA: memory bandwidth schema is not enabled"],
  [["--memory", "4k"], "unable to set memory limit to 4096 (current usage: "],
])("update refuses %j in the original's words", (flags, words) => {
  using created = playground.start(limits({ memory: { limit: 64 << 20 } }));
  const { code, stderr } = playground.command(["update", ...flags, created.id]);
  expect(stderr).toContain(words);
  expect(code).toBe(1);
});

it("update says that kernel memory is left alone", () => {
  using created = playground.start();
  const { code, stderr } = playground.command(["update", "--kernel-memory", "50M", created.id]);
  expect(stderr).toContain("level=warning");
  expect(stderr).toContain("Kernel memory settings are ignored and will be removed");
  expect(code).toBe(0);
});

it.each([
  [
    "files of v2",
    { unified: { "memory.high": "1" } },
    "invalid configuration: cannot use unified on cgroup v1",
  ],
  [
    "a device out of a wildcard",
    {
      devices: [
        { allow: false, access: "rwm" },
        { allow: true, type: "c", major: 10, access: "rw" },
        { allow: false, type: "c", major: 10, minor: 229, access: "w" },
      ],
    },
    "cannot punch hole in existing wildcard rule",
  ],
  ["a swappiness beyond all", { memory: { swappiness: 101 } }, "invalid memory swappiness value: 101"],
  [
    "a limit whose controller isn't there",
    { rdma: { mlx5: { hcaHandles: 1 } } },
    "cannot set rdma limit: container could not join or create cgroup",
  ],
])("create refuses %s and leaves nothing", (_, resources, words) => {
  if ("rdma" in resources && has("rdma")) return;
  const { code, stderr } = playground.run(limits(resources));
  expect(stderr).toContain(words);
  expect(code).toBe(1);
  expect(playground.leftovers()).toEqual([]);
});

it("create refuses a cgroup that somebody is in, or that is frozen, and leaves both as they are", () => {
  using first = playground.start();
  const cgroupsPath = playground.groupOf(first.id);
  const second = playground.run({ linux: { cgroupsPath } });
  expect(second.stderr).toContain("container's cgroup is not empty: 1 process(es) found");
  expect(JSON.parse(playground.must("state", first.id)).status).toBe("running");
  const frozen = cgroup("freezer", "frozen");
  fs.mkdirSync(frozen, { recursive: true });
  fs.mkdirSync(cgroup("devices", "frozen"), { recursive: true });
  fs.writeFileSync(path.join(frozen, "freezer.state"), "FROZEN");
  try {
    expect(playground.run({}, { id: "frozen" }).stderr).toContain("container's cgroup unexpectedly frozen");
    // One below another container's is nobody's.
    const nested = playground.run({ linux: { cgroupsPath: `${cgroupsPath}/below` } });
    expect(nested).toEqual({ code: 0, stdout: "", stderr: "" });
  } finally {
    fs.rmdirSync(frozen);
    fs.rmdirSync(cgroup("devices", "frozen"));
  }
});

it("a path that isn't absolute is below the caller's own group, and without one the id is the path", () => {
  const relative = `${playground.groupParent.slice(1)}/relative`;
  const own = fs.readFileSync("/proc/self/cgroup", "utf8");
  const memory = /^\d+:memory:(.*)$/m.exec(own)?.[1] ?? "";
  using created = playground.create({ linux: { cgroupsPath: relative } });
  const pid = JSON.parse(playground.must("state", created.id)).pid;
  const groups = fs.readFileSync(`/proc/${pid}/cgroup`, "utf8");
  expect(groups).toContain(`:memory:${memory === "/" ? "" : memory}/${relative}`);
  playground.must("delete", "--force", created.id);
  fs.rmdirSync(path.join("/sys/fs/cgroup/memory", memory, playground.groupParent));
});

it("events tell of memory that runs out, print samples, and end with the container", async () => {
  using created = playground.create({
    process: { args: ["sh", "-c", "sleep 0.3; x=a; while true; do x=$x$x; done"] },
    ...limits({ memory: { limit: 24 << 20, swap: 24 << 20 } }),
  });
  const output = path.join(playground.dir, "events");
  const events = Bun.spawn([runc, "--root", playground.root, "events", "--interval", "100ms", created.id], {
    stdin: "ignore",
    stdout: Bun.file(output),
    stderr: Bun.file(`${output}.err`),
  });
  await eventually(() => fs.existsSync(output) && fs.readFileSync(output, "utf8").includes('"stats"'));
  playground.must("start", created.id);
  await eventually(() => fs.readFileSync(output, "utf8").includes('"type":"oom"'));
  playground.must("delete", "--force", created.id);
  expect(await events.exited).toBe(0);
  const lines = fs
    .readFileSync(output, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(new Set(lines.map(({ type }) => type))).toEqual(new Set(["stats", "oom"]));
  expect(lines.find(({ type }) => type === "oom")).toEqual({ type: "oom", id: created.id });
});

/** A mount namespace in which commands run. */
function inNamespace(setUp: string, ...args: string[]): { code: number; output: string } {
  const output = path.join(playground.dir, "namespace-output");
  const fd = fs.openSync(output, "w+");
  const script = `set -e; ${setUp}; exec "$@"`;
  const command = [runc, "--root", playground.root, ...args];
  const result = Bun.spawnSync(
    ["timeout", "20", "unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", ...command],
    { stdin: "ignore", stdout: fd, stderr: fd },
  );
  fs.closeSync(fd);
  return { code: result.exitCode, output: fs.readFileSync(output, "utf8") };
}

const BIND = "mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup";
const UNIFIED = "/sys/fs/cgroup/unified";
const onUnified = !missing && !unified && fs.existsSync(`${UNIFIED}/cgroup.controllers`) ? test : test.skip;

/** Create with v2 alone. */
function createUnified(id: string, resources: Patch, args = ["sleep", "1000"]) {
  playground.write(
    playground.config({ process: { args }, linux: { cgroupsPath: playground.groupOf(id), resources } }),
  );
  return inNamespace(BIND, "create", "--bundle", playground.bundle, id);
}

onUnified("v2: device rules are one program, put in the place of what was there", () => {
  const group = path.join(UNIFIED, playground.groupOf("device"));
  const devices = [
    { allow: false, access: "rwm" },
    { allow: true, type: "c", major: 1, minor: 11, access: "w" },
  ];
  // /dev/kmsg may be written to and not read, /dev/mem neither.
  const script =
    "mknod /k c 1 11 && mknod /m c 1 1 && head -c1 /dev/zero >/dev/null && : > /k && ! (: < /k) && ! (: < /m) && ! mknod /f b 8";
  playground.write(
    playground.config({
      process: {
        args: ["sh", "-c", `(${script}) 2>/dev/null`],
        capabilities: { bounding: ["CAP_MKNOD"], effective: ["CAP_MKNOD"], permitted: ["CAP_MKNOD"] },
      },
      linux: { cgroupsPath: playground.groupOf("rules"), resources: { devices } },
    }),
  );
  expect(inNamespace(BIND, "run", "--bundle", playground.bundle, "rules")).toEqual({ code: 0, output: "" });
  expect(createUnified("device", { devices }).output).toBe("");
  expect(fs.readFileSync(path.join(group, "cgroup.procs"), "utf8").trim()).not.toBe("");
  expect(inNamespace(BIND, "start", "device").code).toBe(0);
  expect(inNamespace(BIND, "pause", "device")).toEqual({ code: 0, output: "" });
  expect(fs.readFileSync(path.join(group, "cgroup.events"), "utf8")).toContain("frozen 1");
  expect(inNamespace(BIND, "resume", "device")).toEqual({ code: 0, output: "" });
  const stats = JSON.parse(inNamespace(BIND, "events", "--stats", "device").output);
  expect(stats.data.cpu.usage.total).toBeGreaterThan(0);
  expect(stats.data.cpu.psi.some).toHaveProperty("avg10");
  expect(inNamespace(BIND, "delete", "--force", "device")).toEqual({ code: 0, output: "" });
  expect(fs.existsSync(group)).toBe(false);
});

onUnified("v2: huge pages are limited where the machine has them, with what is reserved", () => {
  const controllers = fs.readFileSync(`${UNIFIED}/cgroup.controllers`, "utf8");
  const size = fs.existsSync("/sys/kernel/mm/hugepages/hugepages-2048kB");
  if (!controllers.includes("hugetlb") || !size) {
    skipped("huge pages in v2: the controller isn't there");
    return;
  }
  expect(createUnified("huge", { hugepageLimits: [{ pageSize: "2MB", limit: 4 << 20 }] }).output).toBe("");
  const file = (name: string) =>
    fs.readFileSync(path.join(UNIFIED, playground.groupOf("huge"), name), "utf8").trim();
  expect(file("hugetlb.2MB.max")).toBe(String(4 << 20));
  expect(file("hugetlb.2MB.rsvd.max")).toBe(String(4 << 20));
  expect(inNamespace(BIND, "delete", "--force", "huge").code).toBe(0);
});

onUnified("v2: what can't be set is said as the original says it", () => {
  for (const [resources, words] of [
    [{ unified: { "nonsense.file": "1" } }, 'controller \\"nonsense\\" not available'],
    [
      { unified: { nonsense: "1" } },
      'unified resource \\"nonsense\\" must be in the form CONTROLLER.PARAMETER',
    ],
    [{ unified: { "../escape": "1" } }, "must be a file name (no slashes)"],
    [{ memory: { limit: 5, swap: 3 } }, "memory+swap limit should be >= memory limit"],
    [{ memory: { swap: 3 } }, "unable to set swap limit without memory limit"],
  ] as const) {
    const { code, output } = createUnified("refused", resources);
    expect(output).toContain(words);
    expect(code).toBe(1);
  }
  expect(createUnified("files", { unified: { "cgroup.max.depth": "3" } }).output).toBe("");
  const file = path.join(UNIFIED, playground.groupOf("files"), "cgroup.max.depth");
  expect(fs.readFileSync(file, "utf8").trim()).toBe("3");
  expect(inNamespace(BIND, "delete", "--force", "files").code).toBe(0);
  expect(playground.leftovers()).toEqual([]);
});

/** All of v1 anew in a namespace, with controllers that the machine hasn't mounted. */
function withController(names: string): string {
  const mounted = fs.readdirSync("/sys/fs/cgroup").filter((name) => name !== "unified" && name !== "systemd");
  return [
    "umount -R /sys/fs/cgroup",
    "mount -t tmpfs tmpfs /sys/fs/cgroup",
    `for h in ${mounted.join(" ")} ${names}; do mkdir /sys/fs/cgroup/$h; mount -t cgroup -o $h cgroup /sys/fs/cgroup/$h; done`,
  ].join("; ");
}

it("network class and priorities are set where the kernel has them", () => {
  const kernel = fs.readFileSync("/proc/cgroups", "utf8");
  const free = /^net_cls\t0\t/m.test(kernel) && /^net_prio\t0\t/m.test(kernel);
  if (!free || has("net_cls")) {
    skipped("network classes: the kernel hasn't the controllers to spare");
    return;
  }
  const setUp = withController("net_cls,net_prio");
  const network = { classID: 0x10001, priorities: [{ name: "lo", priority: 5 }] };
  playground.write(
    playground.config(limits({ network }), {
      process: { args: ["sleep", "1000"] },
      linux: { cgroupsPath: playground.groupOf("net") },
    }),
  );
  const parent = `/sys/fs/cgroup/net_cls,net_prio${playground.groupParent}`;
  const show = `cat ${parent}/net/net_cls.classid; grep -w lo ${parent}/net/net_prio.ifpriomap`;
  const runcCommand = `${runc} --root ${playground.root}`;
  // All in one: with the last mount of a hierarchy that has groups, the kernel keeps it and there is no way to them.
  const life = `${runcCommand} create --bundle ${playground.bundle} net > /dev/null; ${show}`;
  const clean = `${runcCommand} delete --force net; rmdir ${parent}; while grep -q '^net_cls.*\\s[^1]\\s*1$' /proc/cgroups; do sleep 0.05; done`;
  expect(inNamespace(`${setUp}; set +e; ${life}; ${clean}`, "list", "-q").output).toBe("65537\nlo 5\n");
});
