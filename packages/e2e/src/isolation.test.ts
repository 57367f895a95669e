import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { output } from "@longshore/testkit";
import { initPid } from "./init-process.ts";
import { binDir, clis, skipped, useWorld } from "./world.ts";

const world = useWorld();
const docker = (...args: string[]) => world().docker()(...args);

/** Run a container in the background for the time of `use`, which gets its id and its init process's number on the host. */
async function withContainer<T>(args: string[], use: (id: string, pid: number) => Promise<T>): Promise<T> {
  const id = await docker("run", "-d", ...args, world().busybox, "sleep", "1000");
  try {
    return await use(id, initPid(id));
  } finally {
    await docker("rm", "-f", id);
  }
}

const status = (pid: number, field: string) =>
  new RegExp(`^${field}:\\s*(.*)$`, "m").exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];

describe("processes", () => {
  test("ps shows one shim per container with the container's process as its child, and no runc", async () => {
    const ids = [
      await docker("run", "-d", world().busybox, "sleep", "1001"),
      await docker("run", "-d", world().busybox, "sleep", "1002"),
    ];
    const table = (await output(["ps", "-eo", "pid=,ppid=,comm=,args="])).split("\n").map((line) => {
      const [pid = "", ppid = "", comm = "", ...args] = line.trim().split(/\s+/);
      return { pid: Number(pid), ppid: Number(ppid), comm, args: args.join(" ") };
    });
    const { suite } = world().engine;
    expect(table.find(({ pid }) => pid === suite.pid("dockerd"))?.comm).toBe("dockerd");
    expect(table.find(({ pid }) => pid === suite.pid("containerd"))?.comm).toBe("containerd");
    const shims = table.filter(
      ({ comm, args }) => comm === "containerd-shim" && ids.some((id) => args.includes(id)),
    );
    expect(shims).toHaveLength(2);
    for (const [index, id] of ids.entries()) {
      const shim = shims.find(({ args }) => args.includes(id));
      const children = table.filter(({ ppid }) => ppid === shim?.pid);
      expect(children.map(({ args }) => args)).toEqual([`sleep ${1001 + index}`]);
    }
    const runcs = table.filter(({ comm, pid }) => comm === "runc" && exeOf(pid)?.startsWith(binDir));
    expect(runcs).toEqual([]);
    expect(await output(["ps", "-ef", "--forest"])).toContain("\\_ sleep 1001");
    await docker("rm", "-f", ...ids);
  });

  test("rm -f leaves neither shim nor process", async () => {
    await withContainer([], async (_id, pid) => expect(fs.existsSync(`/proc/${pid}`)).toBe(true));
    expect(await world().engine.leaks()).toEqual([]);
  });
});

function exeOf(pid: number): string | undefined {
  try {
    return fs.readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return undefined;
  }
}

describe("isolation", () => {
  test.each(clis.map((cli) => [cli.name, cli] as const))(
    "%s: a seccomp profile of the user's own, by its file",
    async (_, cli) => {
      const file = path.join(world().engine.dir, "profile.json");
      const denied = { names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 1 };
      fs.writeFileSync(file, JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", syscalls: [denied] }));
      const run = (option: string) =>
        world().docker(cli)("run", "--rm", "--security-opt", option, world().busybox, "sh", "-c", script);
      const script = "mkdir /x 2>/dev/null && echo made || echo refused";
      expect(await run(`seccomp=${file}`)).toBe("refused");
      expect(await run("seccomp=unconfined")).toBe("made");
      const missing = run(`seccomp=${file}.not`);
      await expect(missing).rejects.toThrow(`opening seccomp profile (${file}.not) failed`);
    },
  );

  test("pid, mount, uts, ipc and network namespaces are the container's own; the user namespace is the host's", async () => {
    await withContainer([], async (_id, pid) => {
      const link = (of: number | "self", name: string) => fs.readlinkSync(`/proc/${of}/ns/${name}`);
      for (const name of ["pid", "mnt", "uts", "ipc", "net"])
        expect(link(pid, name)).not.toBe(link("self", name));
      expect(link(pid, "user")).toBe(link("self", "user"));
    });
  });

  test("it sees only its own processes and its own host name", async () => {
    const id = await docker("run", "-d", world().busybox, "sleep", "1000");
    const processes = await docker("exec", id, "ps", "-o", "pid,args");
    expect(processes.split("\n").map((line) => line.trim())).toEqual([
      "PID   COMMAND",
      "1 sleep 1000",
      expect.stringMatching(/^\d+ ps -o pid,args$/),
    ]);
    expect(await docker("exec", id, "hostname")).toBe(id.slice(0, 12));
    await docker("rm", "-f", id);
  });

  test("the root is an overlay, writable, and gone with the container", async () => {
    const script = "grep ' / ' /proc/mounts | cut -d' ' -f3; echo x > /new && cat /new";
    expect(await docker("run", "--rm", world().busybox, "sh", "-c", script)).toBe("overlay\nx");
    expect((await world().docker().run(["run", "--rm", world().busybox, "cat", "/new"])).status).toBe(1);
  });

  test("capabilities are Docker's default fourteen, none ambient, none inheritable", async () => {
    await withContainer([], async (_id, pid) => {
      for (const set of ["CapEff", "CapPrm", "CapBnd"]) expect(status(pid, set)).toBe("00000000a80425fb");
      expect(status(pid, "CapAmb")).toBe("0000000000000000");
    });
    expect(
      await docker("run", "--rm", "--cap-drop=ALL", world().busybox, "grep", "CapEff", "/proc/self/status"),
    ).toBe("CapEff:\t0000000000000000");
  });

  test("a seccomp filter is in force, and refuses what Docker's does", async () => {
    await withContainer([], async (_id, pid) => expect(status(pid, "Seccomp")).toBe("2"));
    const unshare = await world().docker().run(["run", "--rm", world().busybox, "unshare", "-m", "true"]);
    expect(unshare.status).not.toBe(0);
    expect(unshare.stderr).toContain("Operation not permitted");
  });

  test("paths that tell of the host are masked or read-only", async () => {
    const script = [
      "for f in /proc/kcore /proc/keys /proc/timer_list; do [ -e $f ] && [ -s $f ] && wc -c < $f; done",
      "for d in /proc/acpi /proc/scsi /sys/firmware; do [ -d $d ] && ls -A $d; done",
      "for f in /proc/sysrq-trigger /proc/sys/kernel/hostname /proc/irq/default_smp_affinity; do [ -e $f ] && (echo x > $f) 2>/dev/null && echo wrote $f; done",
      "(echo x > /sys/kernel/mm/x) 2>/dev/null && echo wrote sys",
      "echo end",
    ].join("\n");
    expect(await docker("run", "--rm", world().busybox, "sh", "-c", script)).toBe("end");
  });

  test("only the usual devices are there, and no other can be used", async () => {
    const listed = await docker("run", "--rm", world().busybox, "ls", "/dev");
    // runc adds /dev/core where the kernel has /proc/kcore.
    const devices = listed.split("\n").filter((name) => name !== "core");
    expect(devices.sort()).toEqual([
      "fd",
      "full",
      "mqueue",
      "null",
      "ptmx",
      "pts",
      "random",
      "shm",
      "stderr",
      "stdin",
      "stdout",
      "tty",
      "urandom",
      "zero",
    ]);
    // mknod is among the default capabilities; what keeps a disk out of reach is the devices' cgroup rule.
    const script = "mknod /d b 254 0 && dd if=/d of=/dev/null bs=512 count=1";
    const disk = await world().docker().run(["run", "--rm", world().busybox, "sh", "-c", script]);
    expect(disk.status).not.toBe(0);
    expect(disk.stderr).toContain("Operation not permitted");
    expect(
      await docker(
        "run",
        "--rm",
        world().busybox,
        "sh",
        "-c",
        "head -c 3 /dev/zero | wc -c; echo x >/dev/null; head -c 4 /dev/urandom | wc -c",
      ),
    ).toBe("3\n4");
  });
});

/** Why a limit can't be tested: version 2 of the machine's cgroups lacks its controller. */
function lacks(controller: string): boolean {
  const file = "/sys/fs/cgroup/cgroup.controllers";
  const lacking =
    fs.existsSync(file) && !fs.readFileSync(file, "utf8").trim().split(" ").includes(controller);
  if (lacking) skipped(`limits: version 2 of this machine's cgroups has no ${controller} controller`);
  return lacking;
}

describe("limits", () => {
  /** A controller's file of a container: v2's unified group, or the group of that v1 controller. */
  function limit(pid: number, v2: string, controller: string, v1: string): string {
    for (const line of fs.readFileSync(`/proc/${pid}/cgroup`, "utf8").trim().split("\n")) {
      const [, controllers = "", group = ""] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
      const v1Dir = `/sys/fs/cgroup/${controllers}`;
      if (controllers.split(",").includes(controller))
        return fs.readFileSync(`${v1Dir}${group}/${v1}`, "utf8").trim();
      const file = `/sys/fs/cgroup${group}/${v2}`;
      if (controllers === "" && fs.existsSync(file)) return fs.readFileSync(file, "utf8").trim();
    }
    throw new Error(`no cgroup with ${controller}`);
  }

  test("its cgroups lie below the engine's parent", async () => {
    await withContainer([], async (id, pid) => {
      expect(fs.readFileSync(`/proc/${pid}/cgroup`, "utf8")).toContain(
        `:${world().engine.cgroupParent}/${id}`,
      );
    });
  });

  test.skipIf(lacks("memory"))("-m sets the memory limit, and what exceeds it is killed", async () => {
    await withContainer(["-m", "32m"], async (_id, pid) => {
      expect(limit(pid, "memory.max", "memory", "memory.limit_in_bytes")).toBe(String(32 * 1024 * 1024));
    });
    // dd fills a buffer of that size.
    const eater = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"];
    const limited = (...limits: string[]) =>
      world()
        .docker()
        .run(["run", "--rm", ...limits, world().busybox, ...eater]);
    expect((await limited("-m", "32m", "--memory-swap", "32m")).status).toBe(137);
    expect((await limited("-m", "128m")).status).toBe(0);
  });

  test.skipIf(lacks("cpu"))("--cpus sets the quota, and the time is really withheld", async () => {
    await withContainer(["--cpus", "0.25"], async (_id, pid) => {
      expect(limit(pid, "cpu.max", "cpu", "cpu.cfs_quota_us")).toMatch(/^25000\b/);
    });
    // One CPU's worth of work for 0.6 s at a quarter of a CPU: the kernel counts the periods in which it was held back.
    const id = await docker(
      "run",
      "-d",
      "--cpus",
      "0.25",
      world().busybox,
      "sh",
      "-c",
      "while :; do :; done",
    );
    const pid = initPid(id);
    const throttled = () =>
      Number(/^nr_throttled (\d+)$/m.exec(limit(pid, "cpu.stat", "cpu", "cpu.stat"))?.[1]);
    const deadline = Date.now() + 10_000;
    while (throttled() < 3 && Date.now() < deadline) await Bun.sleep(20);
    expect(throttled()).toBeGreaterThanOrEqual(3);
    await docker("rm", "-f", id);
  });

  test.skipIf(lacks("pids"))("--pids-limit keeps a fork bomb small", async () => {
    const script = "i=0; while [ $i -lt 30 ]; do sleep 5 & i=$((i + 1)); done; wait";
    const { stderr } = await world()
      .docker()
      .run(["run", "--rm", "--pids-limit", "10", world().busybox, "sh", "-c", script]);
    expect(stderr).toContain("can't fork");
  });
});

test("nothing is left behind", async () => {
  expect(await world().engine.leaks()).toEqual([]);
});
