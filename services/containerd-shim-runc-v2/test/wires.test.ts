import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { TaskDefinition } from "@longshore/api/containerd/runtime/task/v2/shim";
import type { EventEnvelope } from "@longshore/events";
import { openEventBus } from "@longshore/events";
import { channelTo, createClient } from "@longshore/rpc";
import { formatStdioUri } from "@longshore/stdio";
import { canRun, Harness, isAlive, logEntries, ownRunc, type TestContainer, until } from "./harness.ts";

const natsServer = Bun.which("nats-server", { PATH: `${process.env.PATH}:/usr/sbin` });

function fifo(container: TestContainer, name: string): string {
  const file = path.join(container.dir, `${container.id}-${name}`);
  Bun.spawnSync(["mkfifo", file]);
  return file;
}

function freePort(): number {
  const probe = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  probe.stop(true);
  return probe.port;
}

describe.skipIf(!canRun)("the shim's wires", () => {
  test("FIFOs: a reader may come late and come back, stdin ends by CloseIO, nothing is lost", async () => {
    await using harness = new Harness();
    const container = await harness.container({ args: ["cat"] });
    const [stdin, stdout, stderr] = [fifo(container, "in"), fifo(container, "out"), fifo(container, "err")];
    await container.create({ stdin, stdout, stderr });
    await container.start();
    const input = Array.from({ length: 40_000 }, (_, i) => `line ${i}\n`).join("");
    fs.writeFileSync(`${container.dir}/input`, input);
    // More than the pipes hold, and nobody reads yet.
    const writer = Bun.spawn(["sh", "-c", `cat ${container.dir}/input > ${stdin}`]);
    const first = Bun.spawn(["head", "-c", "1000", stdout], { stdout: "pipe" });
    const head = await new Response(first.stdout).text();
    const reader = Bun.spawn(["cat", stdout], { stdout: "pipe" });
    const rest = new Response(reader.stdout).text();
    await writer.exited;
    await container.task.closeIO({ id: container.id, execId: "", stdin: true });
    expect((await container.wait()).exitStatus).toBe(0);
    expect(head).toBe(input.slice(0, 1000));
    // What the first reader took beyond its thousand bytes went with it; the end is whole.
    expect(input.endsWith((await rest).slice(-100_000))).toBe(true);
    await container.finish();
  }, 30_000);

  test("events reach NATS in order, those of its absence too; containerd is told which it need not pass on", async () => {
    if (!natsServer) return;
    await using harness = new Harness();
    const port = freePort();
    const url = `nats://127.0.0.1:${port}`;
    const container = await harness.container({
      args: ["sh", "-c", "exit 3"],
      env: { LONGSHORE_NATS_URL: url },
    });
    await container.create();
    await container.start();
    await container.wait();
    await until(() => harness.topics(container).includes("/tasks/exit"), "the exit event at containerd");
    const server = Bun.spawn(
      [natsServer, "-js", "-a", "127.0.0.1", "-p", String(port), "-sd", `${harness.dir}/js`],
      {
        stdout: "ignore",
        stderr: "ignore",
      },
    );
    const bus = openEventBus({ url, queueFile: `${harness.dir}/q`, name: "test" });
    const seen: EventEnvelope[] = [];
    const stop = new AbortController();
    const subscribed = bus.subscribe({ since: new Date(0), signal: stop.signal }, (event) => {
      seen.push(event);
    });
    try {
      await until(() => seen.length >= 3, "three events on NATS", 15_000);
      await container.delete();
      await container.shutdown();
      await until(() => seen.length >= 4, "four events on NATS");
      expect(seen.map((e) => e.topic)).toEqual([
        "/tasks/create",
        "/tasks/start",
        "/tasks/exit",
        "/tasks/delete",
      ]);
      expect(seen[2]).toMatchObject({
        v: 1,
        source: "shim",
        namespace: container.namespace,
        event: { container_id: container.id, id: container.id, exit_status: 3 },
      });
      expect(harness.published.at(-1)).toBe("nats");
    } finally {
      stop.abort();
      await subscribed;
      await bus.close();
      server.kill();
      await server.exited;
    }
  }, 40_000);

  test("with LONGSHORE_SHIM_STAY=1 the process that answers is the one that serves", async () => {
    await using harness = new Harness();
    const container = await harness.container({
      args: ["sh", "-c", "exit 6"],
      env: { LONGSHORE_SHIM_STAY: "1" },
    });
    expect(container.address).toMatch(/^unix:\/\/.*\/s\/[0-9a-f]{64}$/);
    expect(container.started?.exitCode).toBe(null);
    expect(container.shimPid).toBe(container.started?.pid ?? 0);
    await container.create();
    await container.start();
    expect(await container.finish()).toEqual({ exitStatus: 6 });
    expect(harness.topics(container)).toEqual([
      "/tasks/create",
      "/tasks/start",
      "/tasks/exit",
      "/tasks/delete",
    ]);
    expect(await container.started?.exited).toBe(0);
    expect(fs.existsSync(container.address.slice("unix://".length))).toBe(false);
  }, 30_000);

  test("gRPC, when it is asked for", async () => {
    await using harness = new Harness();
    const container = await harness.container({
      args: ["sh", "-c", "exit 6"],
      env: { LONGSHORE_SHIM_PROTOCOL: "grpc" },
      connect: false,
    });
    const answer = JSON.parse(container.address) as { version: number; address: string; protocol: string };
    expect(answer).toMatchObject({ version: 3, protocol: "grpc" });
    const channel = channelTo(answer.address.slice("unix://".length));
    container.task = createClient(channel, TaskDefinition) as unknown as typeof container.task;
    const pid = container.shimPid;
    await container.create();
    await container.start();
    expect(await container.finish()).toEqual({ exitStatus: 6 });
    channel.close();
    expect(isAlive(pid)).toBe(false);
  }, 30_000);

  test.skipIf(!ownRunc)(
    "our runc in place of Debian's: run, exec, terminal, pause, kill",
    async () => {
      await using harness = new Harness();
      const container = await harness.container({
        args: ["sh", "-c", "seq 1000; exec sleep 1000"],
        runc: ownRunc,
      });
      const log = path.join(container.bundle, "io.log");
      const uri = formatStdioUri({ socketPath: `${container.dir}/io`, log: { path: log } });
      await container.create({ stdout: uri, stderr: uri });
      await container.start();
      await until(() => logEntries(log).length === 1000, "the output");
      for (const terminal of [false, true]) {
        const execId = `x-${terminal}`;
        const file = path.join(container.bundle, execId);
        const stdio = formatStdioUri({ socketPath: `${container.dir}/${execId}`, log: { path: file } });
        await container.exec(execId, ["sh", "-c", "echo hi; exit 5"], { terminal, stdout: stdio });
        await container.start(execId);
        expect((await container.wait(execId)).exitStatus).toBe(5);
        await until(() => logEntries(file).length > 0, "the exec's output");
        expect(logEntries(file)[0]?.log).toBe(terminal ? "hi\r\n" : "hi\n");
        await container.delete(execId);
      }
      await container.task.pause({ id: container.id });
      await container.task.resume({ id: container.id });
      await container.kill(9);
      expect(await container.finish()).toEqual({ exitStatus: 137 });
    },
    30_000,
  );
});
