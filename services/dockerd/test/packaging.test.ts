import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { findExecutable } from "@longshore/suite";
import { eventually, lackingForSystemd, PrivateSystemd, run, systemdDir, tempDir } from "@longshore/testkit";
import { binDir } from "./engine-client.ts";
import { notifySocket } from "./notify-socket.ts";

setDefaultTimeout(150_000);
const services = path.resolve(import.meta.dir, "../..");
const units = ["containerd", "registry-client", "dockerd"].flatMap((name) => {
  const dir = path.join(services, name, "packaging");
  return fs
    .readdirSync(dir)
    .filter((file) => /\.(service|socket)$/.test(file))
    .map((file) => path.join(dir, file));
});

test("units: each daemon's, whose end ends no container", () => {
  expect(units.map((file) => path.basename(file))).toEqual([
    "longshore-containerd.service",
    "longshore-registry-client.service",
    "longshore-dockerd.service",
    "longshore-dockerd.socket",
  ]);
  for (const file of units.filter((each) => each.endsWith(".service"))) {
    const text = fs.readFileSync(file, "utf8");
    expect(text).toContain("Type=notify\n");
    if (file.includes("registry")) continue;
    for (const line of ["KillMode=process\n", "Delegate=yes\n"]) expect(text).toContain(line);
  }
});

test.skipIf(findExecutable("systemd-analyze") === undefined)(
  "units: systemd finds nothing to complain of",
  async () => {
    using dir = tempDir();
    const copies = units.map((file) => {
      const copy = path.join(dir.path, path.basename(file));
      fs.writeFileSync(copy, fs.readFileSync(file, "utf8").replaceAll("/opt/longshore/bin", binDir));
      return copy;
    });
    const { status, stdout, stderr } = await run(["systemd-analyze", "verify", "--man=no", ...copies]);
    // Of units that are the machine's own it may say what it likes.
    const complaints = `${stdout}${stderr}`.split("\n").filter((line) => line.includes("longshore"));
    expect([status, complaints]).toEqual([0, []]);
  },
);

test("containerd and registry-client tell their supervisor when they serve, and when they end", async () => {
  using dir = tempDir();
  const at = (name: string) => path.join(dir.path, name);
  using notified = notifySocket(dir.path);
  const containerd = ["containerd", "--address", at("c.sock"), "--root", at("root"), "--state", at("state")];
  const registry = ["registry-client", "serve", "--address", at("r.sock"), "--containerd", at("c.sock")];
  for (const [name = "", ...args] of [containerd, registry]) {
    const child = Bun.spawn([path.join(binDir, name), ...args], {
      env: { ...process.env, NOTIFY_SOCKET: notified.path },
      stdio: ["ignore", "ignore", "ignore"],
    });
    try {
      expect([name, notified.told()]).toEqual([name, "READY=1"]);
    } finally {
      child.kill("SIGTERM");
    }
    expect([name, notified.told()]).toEqual([name, "STOPPING=1"]);
    await child.exited;
  }
});

if (lackingForSystemd.length > 0)
  console.log(`# skipped: units under systemd: no ${lackingForSystemd.join(", no ")}`);
describe.skipIf(lackingForSystemd.length > 0)("units under a systemd", () => {
  const services = ["longshore-dockerd", "longshore-containerd", "longshore-registry-client"];
  const unified = fs.existsSync("/sys/fs/cgroup/cgroup.controllers");
  let dir = "";
  let systemd: PrivateSystemd;

  beforeAll(async () => {
    dir = systemdDir("dockerd");
    systemd = await PrivateSystemd.boot({
      dir,
      prepare: [
        "mkdir -p opt/longshore/bin etc/default",
        `mount --bind ${binDir} opt/longshore/bin`,
        `cp ${units.join(" ")} etc/systemd/system/`,
        "echo docker:x:990: >> etc/group",
        "echo mapped:x:991:991::/:/bin/sh >> etc/passwd",
        "echo mapped:x:991: >> etc/group",
        "echo mapped:300000:65536 | tee etc/subuid > etc/subgid",
        // The kernel lets a user namespace mount one only where all of one is to be seen.
        "mkdir proc-whole && mount -t proc proc proc-whole",
        "busybox ip link set lo up",
        // Of its own network namespace.
        "mount --bind proc/sys/net proc/sys/net",
        "mount -o remount,bind,rw proc/sys/net",
      ],
    });
    const image = path.join(dir, "image");
    fs.mkdirSync(path.join(image, "bin"), { recursive: true });
    fs.copyFileSync("/bin/busybox", path.join(image, "bin/busybox"));
    for (const name of ["sh", "sleep"]) fs.symlinkSync("busybox", path.join(image, "bin", name));
    must("tar", "-C", image, "-cf", `${image}.tar`, ".");
  });
  afterAll(async () => {
    await systemd?.[Symbol.asyncDispose]();
    fs.rmSync(dir, { recursive: true, force: true });
  });

  const must = (...command: string[]) => {
    const { code, output } = systemd.inside(...command);
    expect([command.join(" "), code, code === 0 ? "" : output]).toEqual([command.join(" "), 0, ""]);
    return output.trim();
  };
  const client = ["/opt/longshore/bin/docker", "-H", "unix:///run/longshore/docker.sock"];
  const docker = (...args: string[]) => must(...client, ...args);
  const stateOf = (unit: string) => systemd.inside("systemctl", "is-active", unit).output.trim();
  const property = (unit: string, name: string) =>
    systemd.inside("systemctl", "show", "-p", name, "--value", unit).output.trim();

  /** With systemd as its cgroup driver. */
  const startWith = (options: readonly string[]) => {
    const line = `DOCKERD_OPTS=${["--exec-opt", "native.cgroupdriver=systemd", ...options].join(" ")}`;
    must("sh", "-c", `echo "${line}" > /etc/default/longshore`);
    // It may have forgotten the unit already, with what it has counted of it.
    systemd.inside("systemctl", "reset-failed", "longshore-dockerd");
    must("systemctl", "start", "longshore-dockerd.socket");
  };

  test("it starts dockerd for its first client; a restart, a kill, a reload and a stop end no container", async () => {
    must("systemctl", "start", "longshore-dockerd.socket");
    expect(must("stat", "-c", "%a %G", "/run/longshore/docker.sock")).toBe("660 docker");
    expect(stateOf("longshore-dockerd")).toBe("inactive");
    expect(docker("version", "-f", "{{.Server.Version}}")).not.toBe("");
    expect(services.map(stateOf)).toEqual(["active", "active", "active"]);

    docker("import", path.join(dir, "image.tar"), "box");
    expect(docker("run", "--rm", "box", "sh", "-c", "echo hello")).toBe("hello");
    expect(docker("info", "-f", "{{.CgroupDriver}}")).toBe(unified ? "systemd" : "cgroupfs");
    docker("run", "-d", "--name", "sleeper", "box", "sleep", "1000");
    const pid = () => docker("inspect", "-f", "{{.State.Running}} {{.State.Pid}}", "sleeper");
    const before = pid();
    must("systemctl", "restart", "longshore-dockerd");
    expect(pid()).toBe(before);
    must("systemctl", "reload", "longshore-dockerd");
    must("systemctl", "kill", "--kill-who=main", "-s", "KILL", "longshore-dockerd", "longshore-containerd");
    // systemd itself starts them again.
    const isBack = (unit: string) => stateOf(unit) === "active" && property(unit, "NRestarts") !== "0";
    await eventually(() => services.slice(0, 2).every(isBack), { timeoutMs: 30_000 });
    expect(pid()).toBe(before);
    // So many starts in a minute would be the last one.
    must("systemctl", "reset-failed", "longshore-dockerd");
    must("systemctl", "stop", "longshore-dockerd");
    expect(must("cat", `/proc/${before.split(" ")[1]}/comm`)).toBe("sleep");
    expect(pid()).toBe(before);
    docker("rm", "-f", "sleeper");
    must("systemctl", "stop", "longshore-dockerd.socket", ...services);
    expect(services.map(stateOf)).toEqual(["inactive", "inactive", "inactive"]);
  });

  test("as the cgroup driver it has each container as a scope, with its limits, until it ends", async () => {
    const realRunc = ["/usr/sbin/runc", "/usr/bin/runc"].find((file) => fs.existsSync(file));
    startWith(realRunc ? ["--add-runtime", `real=${realRunc}`] : []);
    expect(docker("info", "-f", "{{.CgroupDriver}}")).toBe("systemd");
    docker("import", path.join(dir, "image.tar"), "box");

    const limits = ["--memory", "64m", "--memory-swap", "64m", "--cpus", "0.5", "--pids-limit", "55"];
    const id = docker("run", "-d", "--name", "scoped", ...limits, "box", "sleep", "1000");
    const scope = `docker-${id}.scope`;
    const pid = docker("inspect", "-f", "{{.State.Pid}}", "scoped");
    expect(property(scope, "ActiveState")).toBe("active");
    expect(property(scope, "Slice")).toBe("system.slice");
    const groups = must("cat", `/proc/${pid}/cgroup`).split("\n");
    expect(groups.filter((line) => !line.endsWith(`/system.slice/${scope}`))).toEqual([]);
    const memory = unified ? "MemoryMax" : "MemoryLimit";
    const memoryFile = (scope: string) =>
      unified
        ? `/sys/fs/cgroup/system.slice/${scope}/memory.max`
        : `/sys/fs/cgroup/memory/system.slice/${scope}/memory.limit_in_bytes`;
    const isLimited = (scope: string, bytes: number, pids: number, cpu: string) => {
      expect(property(scope, memory)).toBe(String(bytes));
      expect(must("cat", memoryFile(scope))).toBe(String(bytes));
      expect(property(scope, "TasksMax")).toBe(String(pids));
      expect(property(scope, "CPUQuotaPerSecUSec")).toBe(cpu);
    };
    isLimited(scope, 64 << 20, 55, "500ms");
    docker(
      "update",
      "--memory",
      "32m",
      "--memory-swap",
      "32m",
      "--pids-limit",
      "77",
      "--cpus",
      "0.2",
      "scoped",
    );
    isLimited(scope, 32 << 20, 77, "200ms");
    // systemd writes its own limits anew.
    must("systemctl", "daemon-reload");
    isLimited(scope, 32 << 20, 77, "200ms");
    expect(docker("exec", "scoped", "sh", "-c", "echo in")).toBe("in");
    expect(docker("stats", "--no-stream", "--format", "{{.MemUsage}}", "scoped")).toEndWith("/ 32MiB");
    docker("pause", "scoped");
    docker("unpause", "scoped");
    must("systemctl", "restart", "longshore-dockerd");
    expect(property(scope, "ActiveState")).toBe("active");
    must("systemctl", "stop", "longshore-dockerd.socket", "longshore-dockerd");
    const uninstall = [
      "/opt/longshore/bin/dockerd",
      "--exec-opt",
      "native.cgroupdriver=systemd",
      "--uninstall",
    ];
    expect(systemd.inside(...uninstall).output).toContain("containers are running");
    must("systemctl", "start", "longshore-dockerd.socket");
    // The scope ends with the container.
    docker("stop", "-t", "0", "scoped");
    expect(property(scope, "ActiveState")).toBe("inactive");
    expect(systemd.inside("ls", memoryFile(scope)).code).not.toBe(0);
    docker("start", "scoped");
    isLimited(scope, 32 << 20, 77, "200ms");
    docker("rm", "-f", "scoped");
    expect(property(scope, "LoadState")).toBe("not-found");

    if (realRunc) {
      const other = docker(
        "run",
        "-d",
        "--name",
        "other",
        "--runtime",
        "real",
        ...limits,
        "box",
        "sleep",
        "1000",
      );
      isLimited(`docker-${other}.scope`, 64 << 20, 55, "500ms");
      docker("rm", "-f", "other");
      expect(property(`docker-${other}.scope`, "LoadState")).toBe("not-found");
    }
    const own = docker(
      "run",
      "-d",
      "--name",
      "sliced",
      "--cgroup-parent",
      "a-b.slice",
      "box",
      "sleep",
      "1000",
    );
    expect(property(`docker-${own}.scope`, "Slice")).toBe("a-b.slice");
    docker("rm", "-f", "sliced");
    const refused = systemd.inside(...client, "create", "--cgroup-parent", "/a", "box", "sleep", "1");
    expect(refused.output).toContain(
      'cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"',
    );
    expect(docker("ps", "-aq")).toBe("");
    must("systemctl", "stop", "longshore-dockerd.socket", ...services);
    // Its slices are systemd's.
    must(...uninstall);
    expect(must("ls", "/sys/class/net")).not.toContain("longshore0");
  });

  // All lies in memory, whose owners the kernel maps since 6.3.
  const [major = 0, minor = 0] = os.release().split(".").map(Number);
  const remaps = major > 6 || (major === 6 && minor >= 3);
  if (!remaps) console.log("# skipped: userns-remap under a systemd: Linux is older than 6.3");
  test.skipIf(!remaps)("as the cgroup driver it takes containers of user namespaces of their own", () => {
    startWith(["--userns-remap", "mapped"]);
    docker("import", path.join(dir, "image.tar"), "box");
    for (const flags of [[], ["--userns=host"]]) {
      const id = docker("run", "-d", "--name", "any", ...flags, "--memory", "64m", "box", "sleep", "1000");
      const pid = docker("inspect", "-f", "{{.State.Pid}}", "any");
      const [, owner] = must("cat", `/proc/${pid}/uid_map`).split(/\s+/);
      expect([flags, owner]).toEqual([flags, flags.length === 0 ? "300000" : "0"]);
      expect(property(`docker-${id}.scope`, unified ? "MemoryMax" : "MemoryLimit")).toBe(String(64 << 20));
      expect(docker("exec", "any", "sh", "-c", "echo in")).toBe("in");
      docker("update", "--memory", "32m", "--memory-swap", "32m", "any");
      expect(property(`docker-${id}.scope`, unified ? "MemoryMax" : "MemoryLimit")).toBe(String(32 << 20));
      docker("rm", "-f", "any");
      expect(property(`docker-${id}.scope`, "LoadState")).toBe("not-found");
    }
    must("systemctl", "stop", "longshore-dockerd.socket", ...services);
  });
});
