import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { demultiplex, openEngine, type TestEngine } from "./engine-client.ts";

setDefaultTimeout(60_000);
let world: TestEngine;
beforeAll(async () => {
  world = await openEngine();
});
afterAll(() => world[Symbol.asyncDispose]());

interface Ran {
  id: string;
  status: number;
  stdout: string;
  stderr: string;
}

const none = (more: object = {}) => ({ NetworkMode: "none", ...more });

/** Run a shell script to its end. */
async function run(script: string, HostConfig: object = {}, more: object = {}): Promise<Ran> {
  const { api, image } = world;
  const id = await api.run(image, ["sh", "-c", script], { ...more, HostConfig: none(HostConfig) });
  const { json } = await api.call("POST", `/containers/${id}/wait`);
  const logs = await fetch(`http://docker/containers/${id}/logs?stdout=1&stderr=1`, { unix: api.socketPath });
  const output = demultiplex(Buffer.from(await logs.arrayBuffer()));
  await api.call("DELETE", `/containers/${id}`);
  return { id, status: json.StatusCode, ...output };
}

const remove = (id: string) => world.api.call("DELETE", `/containers/${id}?force=1&v=1`);

/** The directories of a container's process in the hierarchies of this controller, the unified one included. */
function groupFile(pid: number, controller: string, names: { v1: string; v2: string }): string | undefined {
  for (const line of fs.readFileSync(`/proc/${pid}/cgroup`, "utf8").trim().split("\n")) {
    const [, controllers = "", group = ""] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    const file = controllers.split(",").includes(controller)
      ? `/sys/fs/cgroup/${controllers}${group}/${names.v1}`
      : controllers === ""
        ? `/sys/fs/cgroup${group}/${names.v2}`
        : "";
    if (file !== "" && fs.existsSync(file)) return file;
  }
  return undefined;
}

const disk = fs
  .readdirSync("/sys/block")
  .map((name) => ({ file: `/dev/${name}`, number: fs.readFileSync(`/sys/block/${name}/dev`, "utf8").trim() }))
  .find(({ file }) => fs.existsSync(file));

describe("what can't be is refused by name, and nothing is left", () => {
  const cases: [object, string][] = [
    [{ BlkioWeight: 5 }, "Range of blkio weight is from 10 to 1000"],
    [
      { BlkioWeightDevice: [{ Path: "/dev/x", Weight: 2000 }] },
      "Range of blkio weight is from 10 to 1000: /dev/x",
    ],
    [
      { BlkioDeviceReadBps: [{ Path: "x", Rate: 1 }] },
      'HostConfig.BlkioDeviceReadBps: "x" is not an absolute path',
    ],
    [{ CpusetCpus: "9999" }, "Requested CPUs are not available - requested 9999, available: "],
    [{ CpusetCpus: "a" }, "Invalid value a for cpuset cpus"],
    [{ NanoCpus: 1e12 * 9 }, "range of CPUs is from 0.01 to "],
    [
      { CpuRealtimePeriod: 10, CpuRealtimeRuntime: 20 },
      "cpu real-time runtime cannot be higher than cpu real-time period",
    ],
    [{ MemoryReservation: 5 }, "Minimum memory reservation allowed is 6MB"],
    [
      { DeviceRequests: [{ Count: -1, Capabilities: [["gpu"]] }] },
      'could not select device driver "" with capabilities: [[gpu]]',
    ],
    [{ DeviceCgroupRules: ["x 1:1 r"] }, "invalid device cgroup rule format: 'x 1:1 r'"],
    [{ Devices: [{ PathOnHost: "/dev/null", CgroupPermissions: "q" }] }, "bad mode specified: q"],
    [{ OomScoreAdj: 1001 }, "Invalid value 1001, range for oom score adj is [-1000, 1000]"],
    [{ ShmSize: -1 }, "SHM size can not be less than 0"],
    [{ IpcMode: "mine" }, "invalid IPC mode: mine"],
    [{ PidMode: "private" }, "invalid PID mode: private"],
    [{ UTSMode: "container:x" }, "invalid UTS mode: container:x"],
    [{ UsernsMode: "x" }, "invalid user namespace mode: x"],
    [{ CgroupnsMode: "x" }, "invalid cgroup namespace mode: x"],
    [{ Isolation: "hyperv" }, "invalid isolation (hyperv): linux only supports 'default'"],
    [
      { StorageOpt: { size: "1G" } },
      "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
    ],
    [{ SecurityOpt: ["seccomp={"] }, "Decoding seccomp profile failed: "],
    [{ SecurityOpt: ["no-new-privileges=maybe"] }, 'invalid --security-opt 2: "no-new-privileges=maybe"'],
    [{ VolumeDriver: "nosuch", Binds: ["v:/v"] }, 'plugin "nosuch" not found'],
  ];
  test.each(cases)("%j", async (HostConfig, words) => {
    const { api, image } = world;
    const { status, json } = await api.call("POST", "/containers/create", {
      Image: image,
      Cmd: ["true"],
      HostConfig: none(HostConfig),
    });
    expect(json.message).toContain(words);
    expect([400, 404]).toContain(status);
    expect((await api.call("GET", "/containers/json?all=1")).json).toEqual([]);
  });

  test("another container that isn't there: not 404, which clients take for a missing image", async () => {
    for (const more of [
      { PidMode: "container:nobody" },
      { IpcMode: "container:nobody" },
      { NetworkMode: "container:nobody" },
      { VolumesFrom: ["nobody"] },
    ]) {
      const answer = await world.api.call("POST", "/containers/create", {
        Image: world.image,
        Cmd: ["true"],
        HostConfig: none(more),
      });
      expect([answer.status, answer.json.message]).toEqual([400, "No such container: nobody"]);
    }
  });
});

describe("block devices", () => {
  test.skipIf(!disk)("throttles are in the container's group, and change with an update", async () => {
    const { api, image } = world;
    const { file = "", number = "" } = disk ?? {};
    const id = await api.run(image, ["sleep", "1000"], {
      HostConfig: none({
        BlkioDeviceReadBps: [{ Path: file, Rate: 1 << 20 }],
        BlkioDeviceWriteIOps: [{ Path: file, Rate: 50 }],
      }),
    });
    const { State } = (await api.call("GET", `/containers/${id}/json`)).json;
    const read = (v1: string) => {
      const found = groupFile(State.Pid, "blkio", { v1, v2: "io.max" });
      if (found === undefined) throw new Error("no group with block I/O");
      return fs.readFileSync(found, "utf8");
    };
    expect(read("blkio.throttle.read_bps_device")).toMatch(
      new RegExp(`^${number} (1048576|rbps=1048576)`, "m"),
    );
    expect(read("blkio.throttle.write_iops_device")).toMatch(new RegExp(`^${number} (50|.*wiops=50)`, "m"));
    const updated = await api.call("POST", `/containers/${id}/update`, {
      BlkioDeviceReadBps: [{ Path: file, Rate: 2 << 20 }],
    });
    expect([updated.status, updated.json]).toEqual([200, { Warnings: [] }]);
    expect(read("blkio.throttle.read_bps_device")).toMatch(
      new RegExp(`^${number} (2097152|rbps=2097152)`, "m"),
    );
    const { HostConfig } = (await api.call("GET", `/containers/${id}/json`)).json;
    expect(HostConfig.BlkioDeviceReadBps).toEqual([{ Path: file, Rate: 2 << 20 }]);
    // Null, as Go clients send it, leaves a limit; an empty list takes it away.
    await api.call("POST", `/containers/${id}/update`, { BlkioDeviceReadBps: null, PidsLimit: 50 });
    expect(read("blkio.throttle.read_bps_device")).toContain("2097152");
    await api.call("POST", `/containers/${id}/update`, { BlkioDeviceReadBps: [] });
    expect(read("blkio.throttle.read_bps_device")).not.toContain("2097152");
    const cleared = (await api.call("GET", `/containers/${id}/json`)).json.HostConfig;
    expect(cleared.BlkioDeviceReadBps).toEqual([]);
    expect(cleared.BlkioDeviceWriteIOps).toEqual([{ Path: file, Rate: 50 }]);
    expect(read("blkio.throttle.write_iops_device")).toMatch(new RegExp(`^${number} (50|.*wiops=50)`, "m"));
    await remove(id);
  });

  test("what is no block device fails the start by name", async () => {
    const { api, image } = world;
    for (const [Path, words] of [
      ["/dev/null", "HostConfig.BlkioDeviceReadBps: /dev/null is not a block device"],
      ["/dev/no-such-disk", "stat /dev/no-such-disk: no such file or directory"],
    ]) {
      const HostConfig = none({ BlkioDeviceReadBps: [{ Path, Rate: 1 }] });
      const id = await api.create(image, ["true"], { HostConfig });
      const { status, json } = await api.call("POST", `/containers/${id}/start`);
      expect(status).toBe(500);
      expect(json.message).toContain(words);
      await remove(id);
    }
  });
});

describe("devices", () => {
  test("one under another name, all of a directory, and rules of the devices' cgroup", async () => {
    const Devices = [
      { PathOnHost: "/dev/zero", PathInContainer: "/dev/nothing", CgroupPermissions: "r" },
      { PathOnHost: "/dev/net", PathInContainer: "/dev/net2" },
    ].filter(({ PathOnHost }) => fs.existsSync(PathOnHost));
    const script = "head -c 4 /dev/nothing | wc -c; mknod /tmp/k c 10 237; : < /tmp/k";
    const refused = await run(`mkdir -p /tmp; ${script}`, { Devices });
    expect(refused.stdout).toBe("4\n");
    expect(refused.stderr).toContain("Operation not permitted");
    const allowed = await run(`mkdir -p /tmp; ${script}`, { Devices, DeviceCgroupRules: ["c 10:* rwm"] });
    expect(allowed.stdout).toBe("4\n");
    // Whether the host has such a device or not.
    expect(allowed.stderr).not.toContain("Operation not permitted");
    if (fs.existsSync("/dev/net/tun")) {
      expect((await run("ls /dev/net2", { Devices })).stdout).toBe("tun\n");
    }
  });

  test("a privileged container has them under their own names too", async () => {
    const Devices = [{ PathOnHost: "/dev/zero", PathInContainer: "/dev/nothing" }];
    const { stdout } = await run("head -c 4 /dev/nothing | wc -c; ls /dev/full", {
      Devices,
      Privileged: true,
    });
    expect(stdout).toBe("4\n/dev/full\n");
  });
});

describe("namespaces of other containers", () => {
  test("--pid container: sees that one's processes, by name or id", async () => {
    const { api, image } = world;
    const donor = await api.run(image, ["sleep", "1234"], {}, "pid-donor");
    const { stdout } = await run("ps -o args | grep '^sleep'", { PidMode: "container:pid-donor" });
    expect(stdout).toBe("sleep 1234\n");
    const id = await api.create(image, ["true"], { HostConfig: none({ PidMode: "container:pid-donor" }) });
    const { HostConfig } = (await api.call("GET", `/containers/${id}/json`)).json;
    expect(HostConfig.PidMode).toBe(`container:${donor}`);
    await api.call("POST", `/containers/${donor}/kill`);
    await api.call("POST", `/containers/${donor}/wait`);
    const { status, json } = await api.call("POST", `/containers/${id}/start`);
    expect(status).toBe(409);
    expect(json.message).toBe(`cannot join PID namespace of a non running container: ${donor}`);
    for (const one of [id, donor]) await remove(one);
  });

  test("--ipc container: has that one's /dev/shm, when it is shareable, until its end", async () => {
    const { api, image, engine } = world;
    const donor = await api.run(image, ["sh", "-c", "echo shared > /dev/shm/f; sleep 1000"], {
      HostConfig: none({ IpcMode: "shareable", ShmSize: 1 << 20 }),
    });
    const joined = await run(
      "until [ -e /dev/shm/f ]; do sleep 0.05; done; cat /dev/shm/f; readlink /proc/self/ns/ipc",
      {
        IpcMode: `container:${donor}`,
      },
    );
    const { State } = (await api.call("GET", `/containers/${donor}/json`)).json;
    expect(joined.stdout).toBe(`shared\n${fs.readlinkSync(`/proc/${State.Pid}/ns/ipc`)}\n`);
    const shm = path.join(engine.suite.paths.dockerdExecRoot, "shm");
    expect(fs.readdirSync(shm)).toEqual([donor]);
    await remove(donor);
    expect(fs.readdirSync(shm)).toEqual([]);

    const closed = await api.run(image, ["sleep", "1000"]);
    const id = await api.create(image, ["true"], { HostConfig: none({ IpcMode: `container:${closed}` }) });
    const { status, json } = await api.call("POST", `/containers/${id}/start`);
    expect(status).toBe(409);
    expect(json.message).toContain("non-shareable IPC (hint: use IpcMode:shareable for the donor container)");
    for (const one of [id, closed]) await remove(one);
    expect(await engine.leaks()).toEqual([]);
  });

  test("shared memory of a container that ended while the daemon was away is taken down", async () => {
    const { api, image, engine } = world;
    const HostConfig = none({ IpcMode: "shareable" });
    const id = await api.run(image, ["sleep", "1000"], { HostConfig });
    const { State } = (await api.call("GET", `/containers/${id}/json`)).json;
    await engine.suite.kill("dockerd", "SIGKILL");
    process.kill(State.Pid, "SIGKILL");
    await engine.suite.start("dockerd");
    expect((await api.call("POST", `/containers/${id}/wait`)).json).toEqual({ StatusCode: 137 });
    expect(fs.readdirSync(path.join(engine.suite.paths.dockerdExecRoot, "shm"))).toEqual([]);
    expect((await api.call("POST", `/containers/${id}/start`)).status).toBe(204);
    await remove(id);
    expect(await engine.leaks()).toEqual([]);
  });
});

test("a bind whose source has gone is refused as at the create, and the container stays as it was", async () => {
  const { api, image, engine } = world;
  const Source = path.join(engine.dir, "bound");
  fs.mkdirSync(Source);
  const Mounts = [{ Type: "bind", Source, Target: "/b" }];
  const id = await api.create(image, ["true"], { HostConfig: none({ Mounts }) });
  fs.rmdirSync(Source);
  const refused = await api.call("POST", `/containers/${id}/start`);
  expect([refused.status, refused.json.message]).toEqual([
    400,
    `invalid mount config for type "bind": bind source path does not exist: ${Source}`,
  ]);
  const shown = (await api.call("GET", `/containers/${id}/json`)).json;
  expect(shown.State).toMatchObject({ Status: "created", ExitCode: 0, Error: "" });
  expect([shown.LogPath, fs.existsSync(Source)]).toEqual(["", false]);
  await api.call("DELETE", `/containers/${id}`);
});

test("on the host's network: a sandbox that can be entered, as long as it runs", async () => {
  const { api, image } = world;
  const id = await api.run(image, ["sleep", "1000"], { HostConfig: { NetworkMode: "host" } });
  const settings = async () => (await api.call("GET", `/containers/${id}/json`)).json.NetworkSettings;
  const { SandboxID, SandboxKey } = await settings();
  expect(SandboxID).toMatch(/^[0-9a-f]{64}$/);
  expect(fs.readlinkSync(SandboxKey)).toBe(fs.readlinkSync("/proc/self/ns/net"));
  await api.call("POST", `/containers/${id}/kill`);
  expect(await settings()).toMatchObject({ SandboxID: "", SandboxKey: "" });
  await api.call("DELETE", `/containers/${id}`);
});

test("a seccomp profile of the user's own is in force", async () => {
  const profile = {
    defaultAction: "SCMP_ACT_ALLOW",
    architectures: ["SCMP_ARCH_X86_64"],
    syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 1 }],
  };
  const { stderr, stdout } = await run("mkdir /x; unshare -m true; echo after", {
    SecurityOpt: [`seccomp=${JSON.stringify(profile)}`],
    CapAdd: ["SYS_ADMIN"],
  });
  expect(stderr).toContain("can't create directory '/x': Operation not permitted");
  expect(stdout).toBe("after\n");
});

test("a cgroup parent of its own, and unlimited limits of the process", async () => {
  const { api, image, engine } = world;
  const CgroupParent = `${engine.cgroupParent}/../${path.basename(engine.cgroupParent)}/sub`;
  const HostConfig = none({ CgroupParent, Ulimits: [{ Name: "core", Soft: -1, Hard: -1 }] });
  const id = await api.run(image, ["sleep", "1000"], { HostConfig });
  const { State } = (await api.call("GET", `/containers/${id}/json`)).json;
  expect(fs.readFileSync(`/proc/${State.Pid}/cgroup`, "utf8")).toContain(`:${engine.cgroupParent}/sub/${id}`);
  expect(fs.readFileSync(`/proc/${State.Pid}/limits`, "utf8")).toMatch(
    /^Max core file size +unlimited +unlimited/m,
  );
  await remove(id);
  const below = ["", ...fs.readdirSync("/sys/fs/cgroup")].map((name) =>
    path.join("/sys/fs/cgroup", name, engine.cgroupParent, "sub"),
  );
  for (const directory of below) if (fs.existsSync(directory)) fs.rmdirSync(directory);
});

test("sysctls, annotations, the OOM score, CPUs, groups and the domain reach the process", async () => {
  const { api, image, engine } = world;
  const HostConfig = none({
    Annotations: { "com.example.a": "b c" },
    Sysctls: { "net.ipv4.ip_unprivileged_port_start": "77", "kernel.domainname": "example.test" },
    OomScoreAdj: 321,
    CpusetCpus: "0",
    PidsLimit: -1,
    GroupAdd: ["1234"],
    MemoryReservation: 64 << 20,
  });
  const id = await api.run(image, ["sleep", "1000"], { HostConfig, Domainname: "example.test" });
  const { State } = (await api.call("GET", `/containers/${id}/json`)).json;
  const bundle = path.join(engine.suite.paths.containerdState, "io.containerd.runtime.v2.task/moby", id);
  const spec = JSON.parse(fs.readFileSync(path.join(bundle, "config.json"), "utf8"));
  expect(spec.annotations).toMatchObject({ "com.example.a": "b c" });
  expect(spec.linux.resources.memory.reservation).toBe(64 << 20);
  expect(fs.readFileSync(`/proc/${State.Pid}/oom_score_adj`, "utf8")).toBe("321\n");
  const status = fs.readFileSync(`/proc/${State.Pid}/status`, "utf8");
  expect(status).toMatch(/^Cpus_allowed_list:\t0$/m);
  expect(status).toMatch(/^Groups:\t0 .*\b1234\b/m);
  await remove(id);
  const { stdout } = await run(
    "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/domainname",
    {
      ...HostConfig,
    },
  );
  expect(stdout).toBe("77\nexample.test\n");
});

test("what the kernel can't limit is left out with a warning", async () => {
  const { api, image } = world;
  // Of a client that still knows the first.
  const { json } = await api.call("POST", "/v1.41/containers/create", {
    Image: image,
    Cmd: ["true"],
    HostConfig: none({ KernelMemory: 64 << 20, OomKillDisable: true }),
  });
  expect(json.Warnings).toContain(
    "Your kernel does not support kernel memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
  );
  expect(json.Warnings.at(-1)).toMatch(/^OOM killer is disabled|OomKillDisable discarded\.$/);
  const { HostConfig } = (await api.call("GET", `/containers/${json.Id}/json`)).json;
  expect(HostConfig).not.toHaveProperty("KernelMemory");
  await remove(json.Id);
});
