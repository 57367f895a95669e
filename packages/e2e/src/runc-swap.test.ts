import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { findExecutable, findStaticBusybox } from "@longshore/suite";
import {
  type CommandOptions,
  type CommandResult,
  eventually,
  realDockerClis,
  run,
  type TempDir,
  tempDir,
} from "@longshore/testkit";
import { binDir, skipped } from "./world.ts";

/** Our runc under the engines of others, with their own shims and monitors. */
const runc = process.env.LONGSHORE_RUNC ?? path.join(binDir, "runc");

/** Podman's own limits are more than a process may get that lacks CAP_SYS_RESOURCE. */
const LIMITS = ["--ulimit", "nofile=1000:1000", "--ulimit", "nproc=1000:1000"];

function makeRootfs(dir: string): string {
  const busybox = findStaticBusybox();
  if (!busybox) throw new Error("this machine has no static busybox (package busybox-static)");
  const root = path.join(dir, "rootfs");
  for (const name of ["bin", "etc", "tmp", "proc", "sys", "dev"])
    fs.mkdirSync(path.join(root, name), { recursive: true });
  fs.copyFileSync(busybox, path.join(root, "bin/busybox"));
  for (const name of execFileSync(busybox, ["--list"], { encoding: "utf8" }).trim().split("\n"))
    if (name !== "busybox") fs.symlinkSync("busybox", path.join(root, "bin", name));
  fs.writeFileSync(path.join(root, "etc/passwd"), "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n");
  return root;
}

/** The same file system as a tar, for `import`. */
function tarOf(root: string): string {
  const file = `${root}.tar`;
  execFileSync("tar", ["-C", root, "-cf", file, "."]);
  return file;
}

/** Start a daemon in a process group of its own; its output goes to a file. */
function daemon(argv: string[], log: string): ChildProcess {
  const [file = "", ...args] = argv;
  const fd = fs.openSync(log, "a");
  const env = { ...process.env, PATH: "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin" };
  const child = spawn(file, args, { stdio: ["ignore", fd, fd], detached: true, env });
  fs.closeSync(fd);
  return child;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.pid === undefined) return;
  child.kill("SIGTERM");
  const ended = () => child.exitCode !== null || child.signalCode !== null;
  await eventually(ended, { timeoutMs: 20_000 }).catch(() => {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  });
}

/** An engine with docker's command line. */
interface Engine {
  run(args: string[], options?: CommandOptions): Promise<CommandResult>;
  image: string;
  /** For each `run`. */
  flags: string[];
  seesOom: boolean;
}

/** What engines ask of a runtime in a container's life. */
function life(engine: () => Engine): void {
  const must = async (...args: string[]) => {
    const result = await engine().run(args);
    if (result.status !== 0) throw new Error(`${args.join(" ")}: ${result.status}: ${result.stderr}`);
    return result.stdout.trim();
  };
  const start = (...args: string[]) => engine().run(["run", ...engine().flags, ...args]);
  const sleeper = (name: string, ...flags: string[]) =>
    must("run", ...engine().flags, "-d", "--name", name, ...flags, engine().image, "sleep", "1000");

  test("run: output, stdin and exit status", async () => {
    const { image } = engine();
    expect(await start("--rm", image, "sh", "-c", "echo out; echo err >&2; exit 3")).toEqual({
      status: 3,
      stdout: "out\n",
      stderr: "err\n",
    });
    const piped = await engine().run(["run", ...engine().flags, "--rm", "-i", image, "cat"], {
      stdin: "through\n",
    });
    expect(piped).toEqual({ status: 0, stdout: "through\n", stderr: "" });
  });

  test("a command that isn't there is 127, one that can't be executed 126", async () => {
    const { image } = engine();
    const absent = await start("--rm", image, "no-such-program");
    expect(absent.status).toBe(127);
    expect(absent.stderr).toContain('exec: "no-such-program": executable file not found in $PATH');
    const refused = await start("--rm", image, "/etc/passwd");
    expect(refused.status).toBe(126);
    expect(refused.stderr).toContain("permission denied");
  });

  test("exec: output, status, environment, user and terminal; top; logs", async () => {
    await sleeper("job");
    try {
      expect(await engine().run(["exec", "job", "sh", "-c", "echo in; exit 5"])).toMatchObject({
        status: 5,
        stdout: "in\n",
      });
      expect(await must("exec", "-e", "A=b c", "-w", "/tmp", "job", "sh", "-c", "pwd; echo $A")).toBe(
        "/tmp\nb c",
      );
      expect(await must("exec", "-u", "user", "job", "id", "-u")).toBe("1000");
      const tty = await engine().run(["exec", "-t", "job", "tty"], { terminal: true });
      expect(tty.stdout.trim()).toMatch(/^\/dev\/pts\/\d+$/);
      expect((await engine().run(["exec", "job", "no-such-program"])).status).not.toBe(0);
      expect(await must("top", "job")).toContain("sleep 1000");
    } finally {
      // Podman would wait ten seconds for it to end by itself.
      await must("kill", "--signal", "KILL", "job");
      await must("rm", "-f", "job");
    }
  });

  test("a terminal is attached, and what is typed arrives", async () => {
    const args = ["run", ...engine().flags, "--rm", "-it", engine().image];
    const tty = await engine().run([...args, "sh", "-c", "tty; read line; echo got $line"], {
      terminal: true,
      stdin: "typed\n",
    });
    expect(tty.stdout.replaceAll("\r", "")).toMatch(/\/dev\/pts\/0\n[\s\S]*got typed\n/);
    expect(tty.status).toBe(0);
  });

  test("a terminal is attached to later, and what is typed arrives", async () => {
    const script = 'while read line; do echo got $line; [ "$line" = end ] && exit 6; done';
    const flags = [...engine().flags, "-dit", "--name", "attached"];
    await must("run", ...flags, engine().image, "sh", "-c", script);
    try {
      const attached = await engine().run(["attach", "attached"], { terminal: true, stdin: "one\nend\n" });
      expect(attached.stdout.replaceAll("\r", "")).toMatch(/got one\n[\s\S]*got end\n/);
      // Podman's attach itself may end with 0.
      expect(await must("wait", "attached")).toBe("6");
    } finally {
      await must("rm", "-f", "attached");
    }
  });

  test("pause and unpause, update, stats, kill, wait", async () => {
    await sleeper("control", "--memory", "64m");
    try {
      await must("pause", "control");
      expect(await must("inspect", "-f", "{{.State.Status}}", "control")).toBe("paused");
      await must("unpause", "control");
      expect(await must("inspect", "-f", "{{.State.Status}}", "control")).toBe("running");
      await must("update", "--memory", "128m", "--memory-swap", "128m", "control");
      const pid = await must("inspect", "-f", "{{.State.Pid}}", "control");
      expect(memoryLimitOf(pid)).toBe(128 << 20);
      const stats = await must("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", "control");
      expect(stats).toMatch(/^control .*\d.* \/ /);
      await must("kill", "--signal", "KILL", "control");
      expect(await must("wait", "control")).toBe("137");
    } finally {
      await must("rm", "-f", "control");
    }
  });

  test("a signal reaches the process; its exit status is its own", async () => {
    const script = 'trap "exit 9" TERM; echo ready; while :; do usleep 20000; done';
    await must("run", ...engine().flags, "-d", "--name", "trap", engine().image, "sh", "-c", script);
    try {
      await eventually(async () => (await must("logs", "trap")) === "ready");
      await must("stop", "-t", "20", "trap");
      expect(await must("inspect", "-f", "{{.State.ExitCode}}", "trap")).toBe("9");
    } finally {
      await must("rm", "-f", "trap");
    }
  });

  test("out of memory: 137, and it is told", async () => {
    // A shim asks to be told of it only after the start: a process that is quicker dies unseen, with any runtime.
    const script = "sleep 0.5; exec tail /dev/zero";
    const ran = await start("--name", "oom", "--memory", "16m", engine().image, "sh", "-c", script);
    expect(ran.status).toBe(137);
    const told = await must("inspect", "-f", "{{.State.ExitCode}} {{.State.OOMKilled}}", "oom");
    // Podman's monitor doesn't see it with cgroup v1.
    expect(told).toBe(engine().seesOom ? "137 true" : told);
    await must("rm", "oom");
  });

  test("limits, rights, users and mounts as asked for", async () => {
    const shared = fs.mkdtempSync("/tmp/ls-shared-");
    try {
      fs.chmodSync(shared, 0o755);
      fs.writeFileSync(path.join(shared, "file"), "of the host\n");
      const script =
        "id -u; grep CapEff /proc/self/status; touch /x 2>&1; cat /v/file; touch /v/x 2>&1; hostname; cat /proc/sys/net/ipv4/ip_forward; ulimit -n";
      const flags = [
        ...["--user", "1000:1000", "--read-only", "--cap-drop", "ALL", "--hostname", "named"],
        ...["--sysctl", "net.ipv4.ip_forward=1", "--volume", `${shared}:/v:ro`],
      ];
      const ran = await start("--rm", ...flags, engine().image, "sh", "-c", script);
      expect({ ...ran, stdout: ran.stdout.replace(/^\d+\n$/m, "") }).toMatchObject({ status: 0, stderr: "" });
      expect(ran.stdout).toStartWith(
        "1000\nCapEff:\t0000000000000000\ntouch: /x: Read-only file system\nof the host\ntouch: /v/x: Read-only file system\nnamed\n1\n",
      );
    } finally {
      fs.rmSync(shared, { recursive: true });
    }
  });

  test("five at once, and none is left", async () => {
    const all = Array.from({ length: 5 }, (_, index) => start("--rm", engine().image, "echo", String(index)));
    const results = await Promise.all(all);
    expect(results.map(({ stdout }) => stdout.trim())).toEqual(results.map((_, index) => String(index)));
    expect(await must("ps", "-a", "-q")).toBe("");
  });
}

function memoryLimitOf(pid: string): number {
  const groups = fs.readFileSync(`/proc/${pid}/cgroup`, "utf8");
  const v1 = /^\d+:[^:]*\bmemory\b[^:]*:(.*)$/m.exec(groups)?.[1];
  const file =
    v1 === undefined
      ? `/sys/fs/cgroup${/^0::(.*)$/m.exec(groups)?.[1]}/memory.max`
      : `/sys/fs/cgroup/memory${v1}/memory.limit_in_bytes`;
  return Number(fs.readFileSync(file, "utf8"));
}

/** Podman leaves the parent of its containers' cgroups. */
function removeGroups(parent: string): void {
  const mounts = fs.readFileSync("/proc/self/mounts", "utf8").split("\n");
  for (const line of mounts) {
    const [, at = "", type] = line.split(" ");
    const group = at + parent;
    if (!type?.startsWith("cgroup") || !fs.existsSync(group)) continue;
    const below = fs.readdirSync(group, { recursive: true, withFileTypes: true });
    const dirs = below.flatMap((entry) =>
      entry.isDirectory() ? [path.join(entry.parentPath, entry.name)] : [],
    );
    for (const dir of [group, ...dirs].reverse()) fs.rmdirSync(dir);
  }
}

function swap(what: string, missing: string | undefined, tests: () => void): void {
  if (missing !== undefined) {
    skipped(`${what}: ${missing}`);
    test.skip(what, () => {});
    return;
  }
  describe(what, tests);
}

const dockerd = ["/usr/sbin/dockerd", "/usr/bin/dockerd"].find((file) => fs.existsSync(file));
const docker = realDockerClis()[0];
const podman = findExecutable("podman");
const containerd = findExecutable("containerd");
const ctr = findExecutable("ctr");
const absent = (name: string, peer: unknown) => (peer ? undefined : `${name} is not installed`);

for (const how of ["--add-runtime", "--default-runtime"] as const) {
  swap(
    `our runc under the real dockerd, ${how}`,
    absent("dockerd", dockerd) ?? absent("docker", docker),
    () => {
      let dir: TempDir;
      let child: ChildProcess;
      /** Notes each call, and is our runc then. */
      const runtime = () => path.join(dir.path, "ours");
      beforeAll(async () => {
        dir = tempDir();
        const config = path.join(dir.path, "daemon.json");
        const noting = `#!/bin/sh\necho "$*" >> ${runtime()}.calls\nexec ${runc} "$@"\n`;
        fs.writeFileSync(runtime(), noting, { mode: 0o755 });
        fs.writeFileSync(config, "{}");
        child = daemon(
          [
            ...[dockerd ?? "", "--config-file", config, "-H", `unix://${dir.path}/docker.sock`],
            ...["--data-root", `${dir.path}/data`, "--exec-root", `${dir.path}/exec`],
            ...["--pidfile", `${dir.path}/pid`, "--bridge", "none", "--iptables=false", "--ip6tables=false"],
            ...["--add-runtime", `ours=${runtime()}`, ...(how === "--default-runtime" ? [how, "ours"] : [])],
          ],
          path.join(dir.path, "log"),
        );
        await eventually(async () => (await engine().run(["version"])).status === 0, { timeoutMs: 30_000 });
        const imported = await engine().run(["import", tarOf(makeRootfs(dir.path)), "swap"]);
        expect(imported).toMatchObject({ status: 0 });
      }, 60_000);
      afterAll(async () => {
        await stop(child);
        for (const point of ["data", "exec"]) await run(["umount", "-l", path.join(dir.path, point)]);
        dir[Symbol.dispose]();
      }, 60_000);
      const engine = (): Engine => ({
        image: "swap",
        seesOom: true,
        flags: ["--network", "none", ...(how === "--add-runtime" ? ["--runtime", "ours"] : [])],
        run: (args, options) =>
          run([docker?.path ?? "", "-H", `unix://${dir.path}/docker.sock`, ...args], options),
      });
      if (how === "--add-runtime") life(engine);
      test("it is our runc that has the containers, and it has none that is gone", async () => {
        const { flags, image } = engine();
        const { stdout } = await engine().run(["run", ...flags, "-d", image, "sleep", "1000"]);
        const id = stdout.trim();
        const asked = await engine().run(["inspect", "-f", "{{.HostConfig.Runtime}}", id]);
        expect(asked.stdout).toBe("ours\n");
        const calls = fs.readFileSync(`${runtime()}.calls`, "utf8");
        const root = new RegExp(`^--root (\\S+) .* create .*${id}$`, "m").exec(calls)?.[1] ?? "";
        expect((await run([runc, "--root", root, "state", id])).stdout).toContain('"running"');
        await engine().run(["rm", "-f", id]);
        await eventually(() => !fs.existsSync(path.join(root, id)));
      });
    },
  );
}

swap("our runc under podman", absent("podman", podman) ?? absent("conmon", findExecutable("conmon")), () => {
  let dir: TempDir;
  const groupParent = `/ls-podman-${process.pid}`;
  const engine = (): Engine => ({
    image: "localhost/swap",
    seesOom: false,
    flags: [...LIMITS, "--network", "none", "--cgroup-parent", groupParent],
    run: (args, options) =>
      run(
        [
          ...[podman ?? "", "--root", `${dir.path}/root`, "--runroot", `${dir.path}/run`],
          ...["--tmpdir", `${dir.path}/tmp`, "--cgroup-manager", "cgroupfs", "--events-backend", "file"],
          ...["--storage-driver", "vfs", "--runtime", runc, ...args],
        ],
        // Versions that warn of cgroup v1 would do so among the output. conmon leaves a file `oom` where it was started.
        { cwd: dir.path, ...options, env: { ...options?.env, PODMAN_IGNORE_CGROUPSV1_WARNING: "1" } },
      ),
  });
  beforeAll(async () => {
    dir = tempDir();
    const imported = await engine().run(["import", tarOf(makeRootfs(dir.path)), "localhost/swap"]);
    expect(imported).toMatchObject({ status: 0 });
  }, 60_000);
  afterAll(async () => {
    await engine().run(["rm", "--all", "--force"]);
    removeGroups(groupParent);
    for (const point of ["root", "run", "tmp"]) await run(["umount", "-l", path.join(dir.path, point)]);
    dir[Symbol.dispose]();
  }, 60_000);
  life(engine);
});

swap("our runc under containerd and its shim", absent("containerd", containerd) ?? absent("ctr", ctr), () => {
  let dir: TempDir;
  let child: ChildProcess;
  let rootfs: string;
  const engine = (...args: string[]) => run([ctr ?? "", "--address", `${dir.path}/sock`, ...args]);
  const must = async (...args: string[]) => {
    const result = await engine(...args);
    if (result.status !== 0) throw new Error(`ctr ${args.join(" ")}: ${result.status}: ${result.stderr}`);
    return result.stdout.trim();
  };
  /** Between the flags and what is to run come the root and an id. */
  const flags = () => [
    "--env",
    "PATH=/bin",
    "--rootfs",
    "--runc-binary",
    runc,
    "--runc-root",
    `${dir.path}/runc`,
  ];
  const start = (id: string, more: string[], ...args: string[]) =>
    engine("run", ...flags(), ...more, rootfs, id, ...args);

  beforeAll(async () => {
    dir = tempDir();
    rootfs = makeRootfs(dir.path);
    const config = path.join(dir.path, "config.toml");
    fs.writeFileSync(config, 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n');
    child = daemon(
      [
        ...[containerd ?? "", "--config", config, "--address", `${dir.path}/sock`],
        ...["--root", `${dir.path}/root`, "--state", `${dir.path}/state`],
      ],
      path.join(dir.path, "log"),
    );
    await eventually(async () => (await engine("version")).status === 0, { timeoutMs: 30_000 });
  }, 60_000);
  afterAll(async () => {
    await stop(child);
    dir[Symbol.dispose]();
  }, 60_000);

  test("run: output and exit status", async () => {
    const ran = await start("one", ["--rm"], "sh", "-c", "echo out; echo err >&2; exit 3");
    expect({ ...ran, stderr: ran.stderr.replace(/^ctr: *\n?/m, "") }).toMatchObject({
      status: 3,
      stdout: "out\n",
      stderr: "err\n",
    });
  });

  test("a command that isn't there is refused in the words that containerd looks for", async () => {
    const ran = await start("absent", ["--rm"], "no-such-program");
    expect(ran.status).not.toBe(0);
    expect(ran.stderr).toContain('exec: "no-such-program": executable file not found in $PATH');
  });

  test("exec, pause, resume, metrics, ps, kill, exit status", async () => {
    await start("life", ["--detach"], "sleep", "1000");
    expect(await must("task", "ls")).toMatch(/^life +\d+ +RUNNING$/m);
    expect(
      await engine("task", "exec", "--exec-id", "e", "life", "sh", "-c", "echo in; exit 5"),
    ).toMatchObject({
      status: 5,
      stdout: "in\n",
    });
    await must("task", "pause", "life");
    expect(await must("task", "ls")).toMatch(/^life +\d+ +PAUSED$/m);
    await must("task", "resume", "life");
    expect(await must("task", "ls")).toMatch(/^life +\d+ +RUNNING$/m);
    expect(await must("task", "metrics", "life")).toMatch(/memory/);
    expect(await must("task", "ps", "life")).toMatch(/\d+/);
    await must("task", "kill", "--signal", "SIGKILL", "life");
    await eventually(async () => /^life +\d+ +STOPPED$/m.test(await must("task", "ls")));
    await must("task", "delete", "life");
    await must("container", "delete", "life");
  });

  test("a terminal", async () => {
    const ran = await run(
      [ctr ?? "", "--address", `${dir.path}/sock`, "run", ...flags(), "--rm", "-t", rootfs, "tty", "tty"],
      { terminal: true },
    );
    expect(ran.stdout.replaceAll("\r", "")).toBe("/dev/pts/0\n");
    expect(ran.status).toBe(0);
  });

  test("limits, a seccomp profile, a read-only root", async () => {
    const more = ["--rm", "--memory-limit", String(64 << 20), "--seccomp", "--read-only"];
    const script = "grep Seccomp: /proc/self/status; touch /x 2>&1; unshare -m true 2>&1 || echo refused";
    expect((await start("limited", more, "sh", "-c", script)).stdout).toMatch(
      /^Seccomp:\t2\ntouch: \/x: Read-only file system\n[\s\S]*refused\n$/,
    );
    const killed = await start("oom", ["--rm", "--memory-limit", String(16 << 20)], "tail", "/dev/zero");
    expect(killed.status).toBe(137);
  });

  test("nothing is left", async () => {
    expect(await must("task", "ls", "-q")).toBe("");
    expect(await must("container", "ls", "-q")).toBe("");
    const root = `${dir.path}/runc/default`;
    expect(fs.readdirSync(root).filter((name) => !name.startsWith("."))).toEqual([]);
  });
});
