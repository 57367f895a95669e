import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { isAlive } from "@longshore/syscalls";
import { eventually, run } from "@longshore/testkit";
import { Daemon, haveCtr, processesWith, REAL_CONTAINERD, SHIMS } from "./daemon.ts";

const haveContainerd = fs.existsSync(REAL_CONTAINERD);
if (!haveContainerd) console.warn("skipped: no real containerd on this machine (package containerd)");

describe.skipIf(!haveCtr || !haveContainerd)("the original containerd with our shim", () => {
  const shim = SHIMS[1];
  let daemon: Daemon;
  beforeAll(async () => {
    daemon = new Daemon({ real: true });
    await daemon.start();
  });
  afterAll(() => daemon[Symbol.asyncDispose]());

  const noLeaks = () =>
    eventually(() => daemon.leaks().length === 0, { what: `no leaks: ${daemon.leaks()}` });
  /** Its state in the list is as it is told; a task that the daemon has deleted is in none. */
  const gone = (id: string) =>
    eventually(async () => (await daemon.status(id)) === undefined, { what: `${id} gone` });

  test("run: output, input, exit status, a terminal; a command that isn't there leaves nothing", async () => {
    const script = "echo out; echo err >&2; exit 7";
    expect(await daemon.run(shim, ["--rm"], "r1", "/bin/sh", "-c", script)).toEqual({
      status: 7,
      stdout: "out\n",
      stderr: "err\n",
    });
    const own = ["--runtime", shim.runtime, "--cgroup", `${daemon.cgroup}/r2`, "--rootfs", daemon.rootfs];
    const ctr = ["/usr/bin/ctr", "-a", daemon.address, "-n", daemon.namespace];
    const terminal = await run(
      [...ctr, "run", "--rm", "-t", ...own, "r2", "/bin/sh", "-c", "test -t 0 && echo yes"],
      {
        terminal: true,
      },
    );
    // ctr tells the size of its terminal at any time, also to a process that has ended, and says so.
    expect(terminal.stdout).toMatch(/^yes\r?$/m);
    expect(terminal.status).toBe(0);
    const missing = await daemon.run(shim, ["--rm"], "r3", "/no/such/command");
    expect(missing.status).not.toBe(0);
    expect(missing.stderr).toContain("/no/such/command");
    await daemon.ctr("containers", "rm", "r3");
    await noLeaks();
  });

  test("tasks: log file, exec, ps, metrics, pause, kill, delete, with their events in order", async () => {
    const events = daemon.events();
    // ctr doesn't say when it listens.
    const label = () => daemon.out("namespaces", "label", daemon.namespace, "listens=yes");
    await eventually(async () => (await label()) === "" && events.lines.length > 0);
    const log = path.join(daemon.dir.path, "t1.log");
    const started = await daemon.run(
      shim,
      ["-d", "--log-uri", `file://${log}`],
      "t1",
      "/bin/sh",
      "-c",
      "echo logged; sleep 1000",
    );
    expect(started.status).toBe(0);
    await eventually(() => fs.existsSync(log) && fs.readFileSync(log, "utf8") === "logged\n");
    const exec = await daemon.ctr(
      "tasks",
      "exec",
      "--exec-id",
      "e1",
      "t1",
      "/bin/sh",
      "-c",
      "echo in; sleep 0.3; exit 3",
    );
    expect([exec.stdout, exec.status]).toEqual(["in\n", 3]);
    expect(await daemon.out("tasks", "ps", "t1")).toMatch(/\d+/);
    expect(await daemon.out("tasks", "metrics", "t1")).toMatch(/memory|pids/);
    await daemon.out("tasks", "pause", "t1");
    expect(await daemon.status("t1")).toBe("PAUSED");
    await daemon.out("tasks", "resume", "t1");
    expect((await daemon.ctr("tasks", "checkpoint", "t1")).status).not.toBe(0);
    expect(await daemon.status("t1")).toBe("RUNNING");
    expect((await daemon.ctr("tasks", "delete", "t1")).status).not.toBe(0);
    await daemon.out("tasks", "kill", "--signal", "SIGKILL", "t1");
    await eventually(async () => (await daemon.status("t1")) === "STOPPED");
    await daemon.ctr("tasks", "delete", "t1");
    await daemon.out("containers", "rm", "t1");
    await eventually(() => events.lines.some((line) => /\/containers\/delete.*"t1"/.test(line)));
    events.stop();
    const topics = events.lines
      .filter((line) => line.includes('"t1"'))
      .map((line) => line.split(" ")[5] ?? "");
    expect(topics.filter((topic) => topic.startsWith("/tasks/"))).toEqual([
      ...["/tasks/create", "/tasks/start", "/tasks/exec-added", "/tasks/exec-started", "/tasks/exit"],
      // The second pause is ctr's, around its checkpoint.
      ...[
        "/tasks/paused",
        "/tasks/resumed",
        "/tasks/paused",
        "/tasks/resumed",
        "/tasks/exit",
        "/tasks/delete",
      ],
    ]);
    await noLeaks();
  });

  test("SIGKILL of containerd: tasks go on and are found again; one that ended meanwhile has its status", async () => {
    const pid = await daemon.runDetached(shim, "runs", "/bin/sleep", "1000");
    await daemon.runDetached(shim, "ends", "/bin/sh", "-c", "sleep 0.5; exit 5");
    await daemon.signal("SIGKILL");
    await eventually(() => processesWith("sleep 0.5; exit 5").length === 0);
    await daemon.start();
    expect(await daemon.tasks()).toContainEqual(["runs", `${pid}`, "RUNNING"]);
    expect(await daemon.status("ends")).toBe("STOPPED");
    expect((await daemon.ctr("tasks", "delete", "ends")).stderr).toMatch(/exit.* code 5/);
    expect(
      (await daemon.ctr("tasks", "exec", "--exec-id", "e", "runs", "/bin/sh", "-c", "exit 4")).status,
    ).toBe(4);
    await daemon.out("tasks", "kill", "--signal", "SIGKILL", "runs");
    await eventually(async () => (await daemon.status("runs")) === "STOPPED");
    await daemon.ctr("tasks", "delete", "runs");
    await daemon.out("containers", "rm", "runs", "ends");
    await noLeaks();
  });

  test("SIGKILL of the shim, with containerd there and without: the container ends, and is in no list for ever", async () => {
    const first = await daemon.runDetached(shim, "s1", "/bin/sleep", "1000");
    process.kill(daemon.shimPid("s1"), "SIGKILL");
    await gone("s1");
    await eventually(() => !isAlive(first));
    const second = await daemon.runDetached(shim, "s2", "/bin/sleep", "1000");
    const shimPid = daemon.shimPid("s2");
    await daemon.signal("SIGKILL");
    process.kill(shimPid, "SIGKILL");
    await daemon.start();
    await gone("s2");
    await eventually(() => !isAlive(second));
    await daemon.out("containers", "rm", "s1", "s2");
    await noLeaks();
  });
});
