import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { TasksDefinition } from "@longshore/api/containerd/services/tasks/v1/tasks";
import { channelTo, createClient } from "@longshore/rpc";
import { isAlive } from "@longshore/syscalls";
import { eventually, output, run } from "@longshore/testkit";
import { binDir, Daemon, haveCtr, present, processesWith } from "./daemon.ts";

/** Creates a task without starting it, which ctr can't. */
class TaskClient implements Disposable {
  readonly #channel;
  readonly #tasks;

  constructor(daemon: Daemon) {
    this.#channel = channelTo(daemon.address);
    const metadata = { "containerd-namespace": daemon.namespace };
    this.#tasks = createClient(this.#channel, TasksDefinition, { metadata });
  }

  /** @returns the pid */
  async create(containerId: string): Promise<number> {
    const io = { stdin: "", stdout: "", stderr: "", terminal: false };
    const unused = { runtimePath: "", taskApiAddress: "", taskApiVersion: 0, rootfs: [] };
    const request = { containerId, ...io, ...unused, checkpoint: undefined, options: undefined };
    return (await this.#tasks.create(request)).pid;
  }

  [Symbol.dispose](): void {
    this.#channel.close();
  }
}

for (const shim of present) {
  describe.skipIf(!haveCtr)(`with ${shim.name}`, () => {
    test("SIGKILL of containerd: tasks go on, are found again, and every exit is told", async () => {
      await using daemon = await Daemon.start();
      const pid = await daemon.runDetached(shim, "runs", "/bin/sleep", "1000");
      await daemon.runDetached(shim, "ends", "/bin/sh", "-c", "sleep 0.5; exit 5");
      await daemon.signal("SIGKILL");
      await eventually(() => processesWith("sleep 0.5; exit 5").length === 0);
      expect(isAlive(pid)).toBe(true);

      await daemon.start();
      expect(await daemon.tasks()).toContainEqual(["runs", `${pid}`, "RUNNING"]);
      expect(await daemon.status("ends")).toBe("STOPPED");
      // Whoever subscribes only now hears of the exit that nobody could be told of.
      const events = daemon.events();
      await eventually(() =>
        events.lines.some((line) => /\/tasks\/exit.*"ends".*"exit_status":5/.test(line)),
      );
      const exec = await daemon.ctr("tasks", "exec", "--exec-id", "e1", "runs", "/bin/sh", "-c", "exit 4");
      expect(exec.status).toBe(4);
      await daemon.out("tasks", "kill", "--signal", "SIGKILL", "runs");
      await eventually(() =>
        events.lines.some((line) => /\/tasks\/exit.*"runs".*"exit_status":137/.test(line)),
      );
      events.stop();
      const exits = events.lines.filter((line) => line.includes("/tasks/exit"));
      expect(exits.filter((line) => line.includes('"id":"ends"'))).toHaveLength(1);
      await daemon.ctr("tasks", "delete", "runs", "ends");
      await daemon.out("containers", "rm", "runs", "ends");
      await eventually(() => daemon.leaks().length === 0, { what: `no leaks: ${daemon.leaks()}` });
    }, 30_000);

    test("SIGTERM ends containerd in a moment and leaves tasks alone", async () => {
      await using daemon = await Daemon.start();
      await daemon.runDetached(shim, "runs", "/bin/sleep", "1000");
      const before = performance.now();
      expect(await daemon.signal("SIGTERM")).toBe(0);
      expect(performance.now() - before).toBeLessThan(2000);
      await daemon.start();
      expect(await daemon.status("runs")).toBe("RUNNING");
    }, 30_000);

    test.each(["SIGKILL", "SIGTERM"] as const)(
      "%s of a shim: its container ends with 137, the events say so, the bundle goes",
      async (signal) => {
        await using daemon = await Daemon.start();
        const events = daemon.events("topic~=/tasks/");
        const pid = await daemon.runDetached(shim, "runs", "/bin/sleep", "1000");
        process.kill(daemon.shimPid("runs"), signal);
        await eventually(() => events.lines.some((line) => line.includes("/tasks/delete")));
        events.stop();
        const exits = events.lines.filter((line) => line.includes("/tasks/exit"));
        expect(exits).toHaveLength(1);
        expect(exits[0]).toContain('"exit_status":137');
        await eventually(() => !isAlive(pid));
        expect(await daemon.tasks()).toEqual([]);
        expect(fs.existsSync(daemon.bundle("runs"))).toBe(false);
        await daemon.out("containers", "rm", "runs");
        await eventually(() => daemon.leaks().length === 0, { what: `no leaks: ${daemon.leaks()}` });
      },
      30_000,
    );

    test("SIGKILL of a shim whose container is paused, or was never started, ends it all the same", async () => {
      await using daemon = await Daemon.start();
      const paused = await daemon.runDetached(shim, "paused", "/bin/sleep", "1000");
      await daemon.out("tasks", "pause", "paused");
      await daemon.out(
        ...["containers", "create", "--runtime", shim.runtime, "--rootfs", daemon.rootfs],
        ...["created", "/bin/sleep", "1000"],
      );
      using client = new TaskClient(daemon);
      const created = await client.create("created");
      for (const id of ["paused", "created"]) process.kill(daemon.shimPid(id), "SIGKILL");
      await eventually(async () => (await daemon.tasks()).length === 0, {
        what: "no tasks",
        timeoutMs: 20_000,
      });
      await eventually(() => !isAlive(paused) && !isAlive(created), { what: "the ends of the processes" });
      await daemon.out("containers", "rm", "paused", "created");
      await eventually(() => daemon.leaks().length === 0, { what: `no leaks: ${daemon.leaks()}` });
    }, 60_000);

    test("SIGKILL of containerd and the shim: the next containerd cleans up and tells", async () => {
      await using daemon = await Daemon.start();
      const pid = await daemon.runDetached(shim, "runs", "/bin/sleep", "1000");
      await daemon.signal("SIGKILL");
      process.kill(daemon.shimPid("runs"), "SIGKILL");
      await daemon.start();
      const events = daemon.events();
      await eventually(() => events.lines.some((line) => line.includes("/tasks/delete")));
      events.stop();
      expect(events.lines.find((line) => line.includes("/tasks/exit"))).toContain('"exit_status":137');
      expect(await daemon.tasks()).toEqual([]);
      await eventually(() => !isAlive(pid));
      await daemon.out("containers", "rm", "runs");
      await eventually(() => daemon.leaks().length === 0, { what: `no leaks: ${daemon.leaks()}` });
    }, 30_000);
  });
}

describe.skipIf(!haveCtr)("containerd", () => {
  test("refuses a root that another containerd has", async () => {
    await using daemon = await Daemon.start();
    const args = ["--root", daemon.root, "--address", `${daemon.address}2`, "--state", `${daemon.state}2`];
    const { status, stderr } = await run([path.join(binDir, "containerd"), ...args]);
    expect(status).toBe(1);
    expect(stderr).toContain(`${daemon.root} is in use by another containerd (pid ${daemon.pid})`);
  });

  test("starts without what the configuration disables, and not without what it requires", async () => {
    await using daemon = new Daemon();
    const config = path.join(daemon.dir.path, "config.toml");
    fs.writeFileSync(config, 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.leases"]\nshade = 1');
    await daemon.start("--config", config);
    expect(await daemon.out("plugins", "ls")).not.toMatch(/grpc\.v1 +leases/);
    expect((await daemon.ctr("leases", "ls")).stderr).toContain("not implement");
    expect(daemon.log()).toMatch(/"key":"shade".*Ignoring unknown key in TOML/);
    await daemon.signal("SIGTERM");
    fs.appendFileSync(config, '\nrequired_plugins = ["io.containerd.grpc.v1.cri"]');
    await expect(daemon.start("--config", config)).rejects.toThrow("io.containerd.grpc.v1.cri");
  }, 30_000);

  test("publish sends an event to the daemon", async () => {
    await using daemon = await Daemon.start();
    const events = daemon.events();
    const args = ["--address", daemon.address, "publish", "--namespace", "ns1", "--topic", "/tasks/oom"];
    // Any { type_url: "containerd.events.TaskOOM", value: { container_id: "c1" } }
    const event = "\n\x19containerd.events.TaskOOM\x12\x04\n\x02c1";
    await eventually(async () => {
      await output([path.join(binDir, "containerd"), ...args], { stdin: event });
      return events.lines.some((line) => /ns1 \/tasks\/oom .*"c1"/.test(line));
    });
    events.stop();
  }, 30_000);
});
