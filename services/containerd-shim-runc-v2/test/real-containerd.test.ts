import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { busybox, canRun, isAlive, shimBinary, until } from "./harness.ts";

const containerd = Bun.which("containerd", { PATH: "/usr/bin:/usr/sbin:/usr/local/bin" });
const ctrBinary = Bun.which("ctr", { PATH: "/usr/bin:/usr/sbin:/usr/local/bin" });
if (!containerd || !ctrBinary) console.warn("skipped: no containerd on this machine (package containerd)");

describe.skipIf(!canRun || !containerd || !ctrBinary)("the shim under a real containerd", () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "ls-real-"));
  const namespace = path.basename(dir);
  const [address, rootfs] = [path.join(dir, "c.sock"), path.join(dir, "rootfs")];
  const state = path.join(dir, "state");
  let daemon: ChildProcess;

  const run = (...args: string[]) => {
    const child = Bun.spawnSync([ctrBinary ?? "", "--address", address, "--namespace", namespace, ...args]);
    return { status: child.exitCode, stdout: child.stdout.toString(), stderr: child.stderr.toString() };
  };
  const ctr = (...args: string[]) => {
    const { status, stdout, stderr } = run(...args);
    if (status !== 0) throw new Error(`ctr ${args.join(" ")}: ${stderr}`);
    return stdout;
  };
  const ctrRun = (flags: string[], id: string, ...command: string[]) =>
    ctr(
      ...["run", "--runtime", shimBinary, "--cgroup", `/${namespace}/${id}`, "--rootfs", ...flags],
      ...[rootfs, id, ...command],
    );
  const bundle = (id: string) => path.join(state, "io.containerd.runtime.v2.task", namespace, id);
  const shimOf = (id: string) => Number(fs.readFileSync(path.join(bundle(id), "shim.pid"), "utf8"));
  const tasks = () => ctr("tasks", "ls").split("\n").slice(1).filter(Boolean);

  async function startDaemon(): Promise<void> {
    const log = fs.openSync(path.join(dir, "log"), "a");
    const places = ["--address", address, "--root", path.join(dir, "root"), "--state", state];
    daemon = spawn(containerd ?? "", ["--config", path.join(dir, "config.toml"), ...places], {
      stdio: ["ignore", log, log],
    });
    fs.closeSync(log);
    await until(() => run("version").status === 0, "containerd");
  }

  async function endDaemon(): Promise<void> {
    const ended = new Promise((resolve) => daemon.once("exit", resolve));
    daemon.kill("SIGKILL");
    await ended;
  }

  beforeAll(async () => {
    fs.mkdirSync(path.join(rootfs, "bin"), { recursive: true });
    for (const name of ["proc", "dev", "sys", "tmp"]) fs.mkdirSync(path.join(rootfs, name));
    fs.copyFileSync(busybox ?? "", path.join(rootfs, "bin/busybox"));
    for (const name of ["sh", "sleep", "echo"]) fs.symlinkSync("busybox", path.join(rootfs, "bin", name));
    fs.writeFileSync(
      path.join(dir, "config.toml"),
      'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n',
    );
    await startDaemon();
  });
  afterAll(async () => {
    for (const line of tasks()) run("tasks", "delete", "--force", line.split(/\s+/)[0] ?? "");
    await endDaemon();
    for (const hierarchy of ["", ...fs.readdirSync("/sys/fs/cgroup")]) {
      const group = path.join("/sys/fs/cgroup", hierarchy, namespace);
      if (fs.existsSync(group)) fs.rmdirSync(group);
    }
    fs.rmSync(path.join("/run/containerd/runc", namespace), { recursive: true, force: true });
    fs.rmSync(dir, { recursive: true });
  });

  test("runs, with output, status, terminal-less stdin and an exec", () => {
    expect(ctrRun(["--rm"], "r1", "/bin/echo", "hello")).toBe("hello\n");
    ctrRun(["-d"], "r2", "/bin/sleep", "1000");
    expect(ctr("tasks", "exec", "--exec-id", "x1", "r2", "/bin/echo", "inside")).toBe("inside\n");
    expect(ctr("tasks", "metrics", "r2")).toContain("pids");
    ctr("tasks", "kill", "--signal", "SIGKILL", "r2");
    expect(run("tasks", "delete", "--force", "r2").stderr).not.toContain("error");
  }, 30_000);

  test("containers of a group share a shim, also over a restart of containerd, which ends with the last", async () => {
    for (const id of ["g1", "g2"]) {
      ctrRun(["-d", "--annotation", "io.containerd.runc.v2.group=g"], id, "/bin/sleep", "1000");
    }
    const shim = shimOf("g1");
    expect(fs.existsSync(path.join(bundle("g2"), "shim.pid"))).toBe(false);
    const stop = (id: string) => {
      ctr("tasks", "kill", "--signal", "SIGKILL", id);
      run("tasks", "delete", "--force", id);
    };
    stop("g1");
    expect(isAlive(shim)).toBe(true);
    await endDaemon();
    await startDaemon();
    expect(tasks().map((line) => line.split(/\s+/))).toEqual([["g2", expect.anything(), "RUNNING"]]);
    stop("g2");
    await until(() => !isAlive(shim), "the shim to end");
    expect(tasks()).toEqual([]);
  }, 30_000);

  test("binary:// as ctr asks for it", () => {
    const script = path.join(dir, "log.sh");
    fs.writeFileSync(script, `#!/bin/sh\nexec 5>&-\n{ echo "$CONTAINER_ID $*"; cat <&3; } > ${dir}/out\n`, {
      mode: 0o755,
    });
    ctrRun(["--rm", "--log-uri", `binary://${script}?a=b`], "b1", "/bin/echo", "logged");
    expect(fs.readFileSync(`${dir}/out`, "utf8")).toBe("b1 a b\nlogged\n");
  }, 30_000);

  test("a killed shim's container is not said to run, whether containerd was there or not", async () => {
    for (const away of [false, true]) {
      ctrRun(["-d"], "k1", "/bin/sleep", "1000");
      const pid = Number(tasks()[0]?.split(/\s+/)[1]);
      if (away) await endDaemon();
      process.kill(shimOf("k1"), "SIGKILL");
      if (away) await startDaemon();
      await until(() => tasks().length === 0, "the task to be gone");
      await until(() => !isAlive(pid), "the container's end");
      ctr("containers", "rm", "k1");
    }
  }, 30_000);
});
