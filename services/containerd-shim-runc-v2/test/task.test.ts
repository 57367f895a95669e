import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { connectStdio, formatStdioUri } from "@longshore/stdio";
import { canRun, Harness, isAlive, logEntries, peerRunc, type TestContainer, until } from "./harness.ts";

function stdioOf(container: TestContainer, name = "io", log = true) {
  const file = path.join(container.bundle, `${name}.log`);
  const socketPath = path.join(container.dir, `${container.id}-${name}`);
  return { uri: formatStdioUri({ socketPath, ...(log && { log: { path: file } }) }), file, socketPath };
}

async function attach(socketPath: string) {
  const ended = Promise.withResolvers<void>();
  const output = { 1: "", 2: "" } as Record<number, string>;
  const client = await connectStdio(socketPath, {
    data: (stream, bytes) => {
      output[stream] += Buffer.from(bytes).toString("latin1");
    },
    end: ended.resolve,
  });
  return { client, output, ended: ended.promise };
}

describe.skipIf(!canRun)("the shim, with Debian's runc", () => {
  test("runs a container to its end: status, log, events, exit record, and nothing left", async () => {
    await using harness = new Harness();
    const container = await harness.container({ args: ["sh", "-c", "seq 10000; echo oops >&2; exit 7"] });
    const { uri, file, socketPath } = stdioOf(container);
    const { pid } = await container.create({ stdout: uri, stderr: uri });
    expect(pid).toBeGreaterThan(1);
    expect((await container.task.state({ id: container.id, execId: "" })).status).toBe(1);
    const waiting = container.wait();
    expect((await container.start()).pid).toBe(pid);
    const { exitStatus, exitedAt } = await waiting;
    expect(exitStatus).toBe(7);
    expect(Math.abs(Number(exitedAt?.seconds) * 1000 - Date.now())).toBeLessThan(5000);
    await until(() => harness.topics(container).includes("/tasks/exit"), "the exit event");
    const entries = logEntries(file);
    expect(entries.filter((e) => e.stream === "stdout").map((e) => e.log)).toEqual(
      Array.from({ length: 10_000 }, (_, i) => `${i + 1}\n`),
    );
    expect(entries.filter((e) => e.stream === "stderr").map((e) => e.log)).toEqual(["oops\n"]);
    expect(JSON.parse(fs.readFileSync(path.join(container.bundle, "exits/init.json"), "utf8"))).toMatchObject(
      {
        pid,
        exit_status: 7,
      },
    );
    expect(await container.delete()).toMatchObject({ pid, exitStatus: 7 });
    await container.shutdown();
    expect(harness.topics(container)).toEqual([
      "/tasks/create",
      "/tasks/start",
      "/tasks/exit",
      "/tasks/delete",
    ]);
    expect(fs.existsSync(socketPath)).toBe(false);
    expect(fs.existsSync(container.address.slice("unix://".length))).toBe(false);
    expect(fs.readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(container.bundle);
    expect(fs.readdirSync(path.join(harness.dir, "s"))).toEqual([]);
  }, 30_000);

  test("stdin reaches the process, and its end too, from one of two attached clients", async () => {
    await using harness = new Harness();
    const container = await harness.container({ args: ["cat"] });
    const { uri, file, socketPath } = stdioOf(container);
    await container.create({ stdin: uri, stdout: uri, stderr: uri });
    const [first, second] = [await attach(socketPath), await attach(socketPath)];
    await container.start();
    const text = Array.from({ length: 50_000 }, (_, i) => `line ${i}\n`).join("");
    await first.client.write(Buffer.from(text));
    await first.client.closeStdin();
    await Promise.all([first.ended, second.ended]);
    expect(first.output[1] === text).toBe(true);
    expect(second.output[1] === text).toBe(true);
    expect(
      logEntries(file)
        .map((e) => e.log)
        .join("") === text,
    ).toBe(true);
    expect(await container.finish()).toEqual({ exitStatus: 0 });
  }, 30_000);

  test("a client that takes nothing, or goes away, stops neither the log nor another client", async () => {
    await using harness = new Harness();
    const container = await harness.container({ args: ["sh", "-c", "read x; seq 1000000"] });
    const { uri, file, socketPath } = stdioOf(container);
    await container.create({ stdin: uri, stdout: uri, stderr: uri });
    const stalled = await attach(socketPath);
    stalled.client.pause();
    const gone = await attach(socketPath);
    const good = await attach(socketPath);
    await container.start();
    await good.client.write(Buffer.from("go\n"));
    gone.client.close();
    expect((await container.wait()).exitStatus).toBe(0);
    await good.ended;
    const text = Array.from({ length: 1_000_000 }, (_, i) => `${i + 1}\n`).join("");
    expect(good.output[1] === text).toBe(true);
    expect(
      logEntries(file)
        .map((e) => e.log)
        .join("") === text,
    ).toBe(true);
    // Late, but whole.
    stalled.client.resume();
    await stalled.ended;
    expect(stalled.output[1] === text).toBe(true);
    await container.finish();
  }, 60_000);

  test("a terminal: its size, its echo, its end", async () => {
    await using harness = new Harness();
    const container = await harness.container({ args: ["sh"], terminal: true });
    const { uri, file, socketPath } = stdioOf(container);
    await container.create({ stdin: uri, stdout: uri });
    const { client, output, ended } = await attach(socketPath);
    await container.start();
    await container.task.resizePty({ id: container.id, execId: "", width: 123, height: 45 });
    await client.write(Buffer.from("stty size; exit 3\n"));
    await ended;
    expect(output[1]).toContain("stty size; exit 3\r\n");
    expect(output[1]).toContain("45 123\r\n");
    expect(
      logEntries(file)
        .map((e) => e.log)
        .join(""),
    ).toBe(output[1] ?? "");
    expect(await container.finish()).toEqual({ exitStatus: 3 });
  }, 30_000);

  test("execs run, are told apart, are killed and deleted; errors have the original's codes", async () => {
    await using harness = new Harness();
    const container = await harness.container({ args: ["sleep", "1000"] });
    await container.create();
    const code = (call: Promise<unknown>) =>
      call.then(
        () => "ok",
        (e: { code: string }) => e.code,
      );
    expect(await code(container.exec("early", ["true"]))).toBe("failed_precondition");
    await container.start();
    const { uri, file } = stdioOf(container, "x1");
    await container.exec("x1", ["sh", "-c", "echo out; echo err >&2; exit 5"], { stdout: uri, stderr: uri });
    expect(await code(container.exec("x1", ["true"]))).toBe("already_exists");
    await container.start("x1");
    expect((await container.wait("x1")).exitStatus).toBe(5);
    expect(
      logEntries(file)
        .map((e) => [e.stream, e.log])
        .sort(),
    ).toEqual([
      ["stderr", "err\n"],
      ["stdout", "out\n"],
    ]);
    await container.exec("x2", ["sleep", "1000"]);
    const { pid } = await container.start("x2");
    const { processes } = await container.task.pids({ id: container.id });
    expect(processes.find((p) => p.pid === pid)?.info?.typeUrl).toBe("containerd.runc.v1.ProcessDetails");
    expect(processes.length).toBe(2);
    expect(await code(container.delete("x2"))).toBe("failed_precondition");
    await container.kill(15, "x2");
    expect((await container.wait("x2")).exitStatus).toBe(143);
    expect(await code(container.kill(15, "x2"))).toBe("not_found");
    expect(await container.delete("x2")).toMatchObject({ pid, exitStatus: 143 });
    expect(await code(container.wait("x2"))).toBe("not_found");
    const missing = container.exec("x3", ["/no/such"]).then(() => container.start("x3"));
    expect(await missing.catch((e: Error) => e.message)).toContain("OCI runtime exec failed: ");
    await container.delete("x3");
    const { stats } = await container.task.stats({ id: container.id });
    expect(stats?.typeUrl).toMatch(/^io\.containerd\.cgroups\.v[12]\.Metrics$/);
    await container.task.pause({ id: container.id });
    expect((await container.task.state({ id: container.id, execId: "" })).status).toBe(4);
    expect(await code(container.task.pause({ id: container.id }))).toBe("failed_precondition");
    await container.task.resume({ id: container.id });
    await container.kill(9);
    expect(await container.finish()).toEqual({ exitStatus: 137 });
    expect(harness.topics(container)).toEqual([
      "/tasks/create",
      "/tasks/start",
      ...["/tasks/exec-added", "/tasks/exec-started", "/tasks/exit"],
      ...["/tasks/exec-added", "/tasks/exec-started", "/tasks/exit"],
      "/tasks/exec-added",
      ...["/tasks/paused", "/tasks/resumed"],
      ...["/tasks/exit", "/tasks/delete"],
    ]);
  }, 30_000);

  test("a command that is not there fails the create with runc's message, and leaves nothing", async () => {
    await using harness = new Harness();
    const container = await harness.container({ args: ["/no/such"] });
    const { uri } = stdioOf(container);
    const error = await container.create({ stdout: uri, stderr: uri }).catch((e: Error) => e);
    expect((error as Error).message).toContain("OCI runtime create failed: ");
    expect((error as Error).message).toContain("no such file or directory");
    expect(fs.readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(container.bundle);
    await container.shutdown();
    expect(harness.topics(container)).toEqual([]);
  }, 30_000);

  test("a process that the kernel killed for want of memory is told before its exit", async () => {
    await using harness = new Harness();
    const container = await harness.container({
      args: ["dd", "if=/dev/zero", "of=/dev/null", "bs=256M", "count=1"],
      edit: (spec) => {
        spec.linux.resources = { memory: { limit: 16 << 20, swap: 16 << 20 } };
      },
    });
    await container.create();
    await container.start();
    expect(await container.finish()).toEqual({ exitStatus: 137 });
    expect(harness.topics(container)).toEqual([
      ...["/tasks/create", "/tasks/start", "/tasks/oom", "/tasks/exit", "/tasks/delete"],
    ]);
  }, 30_000);

  test("a process deep inside that the kernel killed is told, each time once, and the container lives on", async () => {
    await using harness = new Harness();
    const hungry = "dd if=/dev/zero of=/dev/null bs=256M count=1";
    const container = await harness.container({
      args: ["sh", "-c", `while read x; do sh -c '${hungry}; true' 2>/dev/null; echo "$x"; done`],
      edit: (spec) => {
        spec.linux.resources = { memory: { limit: 16 << 20, swap: 16 << 20 } };
      },
    });
    const { uri, file, socketPath } = stdioOf(container);
    await container.create({ stdin: uri, stdout: uri });
    const { client } = await attach(socketPath);
    await container.start();
    for (const round of [1, 2, 3]) {
      await client.write(Buffer.from(`${round}\n`));
      await until(() => logEntries(file).length === round, "the end of the round");
      await until(
        () => harness.topics(container).filter((topic) => topic === "/tasks/oom").length >= round,
        `oom event ${round}`,
      );
    }
    expect((await container.task.state({ id: container.id, execId: "" })).status).toBe(2);
    await container.kill(9);
    expect(await container.finish()).toEqual({ exitStatus: 137 });
    expect(harness.topics(container)).toEqual([
      ...[
        "/tasks/create",
        "/tasks/start",
        "/tasks/oom",
        "/tasks/oom",
        "/tasks/oom",
        "/tasks/exit",
        "/tasks/delete",
      ],
    ]);
  }, 30_000);

  test("SIGTERM ends it with its container, whose exit is recorded and told", async () => {
    await using harness = new Harness();
    const container = await harness.container({ args: ["sleep", "1000"] });
    const { pid } = await container.create();
    await container.start();
    process.kill(container.shimPid, "SIGTERM");
    await until(() => !isAlive(container.shimPid), "the end of the shim");
    expect(isAlive(pid)).toBe(false);
    expect(harness.topics(container)).toEqual(["/tasks/create", "/tasks/start", "/tasks/exit"]);
    const exit = JSON.parse(fs.readFileSync(path.join(container.bundle, "exits/init.json"), "utf8"));
    expect(exit).toMatchObject({ pid, exit_status: 137 });
    expect(fs.existsSync(container.address.replace("unix://", ""))).toBe(false);
  }, 30_000);

  test("a killed shim's container is cleaned up by delete", async () => {
    await using harness = new Harness();
    const container = await harness.container({ args: ["sleep", "1000"] });
    const { pid } = await container.create();
    await container.start();
    process.kill(container.shimPid, 9);
    const child = Bun.spawn(container.command("-bundle", container.bundle, "delete"), {
      cwd: container.bundle,
      env: container.environment,
      stdio: ["ignore", "pipe", "inherit"],
    });
    const { DeleteResponse } = await import("@longshore/api/containerd/runtime/task/v2/shim");
    const answer = DeleteResponse.decode(new Uint8Array(await new Response(child.stdout).arrayBuffer()));
    expect(answer).toMatchObject({ pid, exitStatus: 137 });
    expect(isAlive(pid)).toBe(false);
    expect(fs.readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(container.bundle);
  }, 30_000);

  test("delete ends all processes of a container, also without a pid namespace, and without the runtime", async () => {
    await using harness = new Harness();
    for (const kind of ["runtime", "none"]) {
      const runc = path.join(harness.dir, "runtime");
      fs.copyFileSync(peerRunc ?? "", runc);
      const container = await harness.container({
        args: ["sh", "-c", "sleep 1000 & sleep 1000 & echo ready; wait"],
        runc,
        edit: (spec) => {
          spec.linux.namespaces = (spec.linux.namespaces as { type: string }[]).filter(
            ({ type }) => type !== "pid",
          );
        },
      });
      const { uri, file } = stdioOf(container);
      await container.create({ stdout: uri });
      await container.start();
      await until(() => fs.readFileSync(file, "utf8").includes("ready"), "its children");
      const pids = (await container.task.pids({ id: container.id })).processes.map(({ pid }) => pid);
      expect(pids).toHaveLength(3);
      if (kind === "none") fs.rmSync(runc);
      process.kill(container.shimPid, "SIGKILL");
      await container.destroy();
      await until(() => !pids.some(isAlive), "the ends of all");
      expect(fs.readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(container.bundle);
    }
  }, 30_000);
});
