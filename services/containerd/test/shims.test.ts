import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { ContainersDefinition } from "@longshore/api/containerd/services/containers/v1/containers";
import { TasksDefinition } from "@longshore/api/containerd/services/tasks/v1/tasks";
import { channelTo, createClient } from "@longshore/rpc";
import { eventually, output } from "@longshore/testkit";
import { Daemon, haveCtr, present, type Shim } from "./daemon.ts";

const SPEC = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
const ours = present.find(({ name }) => name === "our shim");

/** A gRPC client, for what ctr has no flag for. */
class Client implements Disposable {
  readonly #daemon: Daemon;
  readonly #channel;
  readonly tasks;
  readonly containers;

  constructor(daemon: Daemon) {
    const metadata = { "containerd-namespace": daemon.namespace };
    this.#daemon = daemon;
    this.#channel = channelTo(daemon.address);
    this.tasks = createClient(this.#channel, TasksDefinition, { metadata });
    this.containers = createClient(this.#channel, ContainersDefinition, { metadata });
  }

  async container(id: string, shim: Shim, annotations: Record<string, string> = {}): Promise<void> {
    const spec = JSON.parse(await output(["ctr", "oci", "spec"]));
    spec.root = { path: this.#daemon.rootfs };
    spec.process = { ...spec.process, args: ["/bin/sleep", "1000"], terminal: false };
    spec.linux.cgroupsPath = `${this.#daemon.cgroup}/${id}`;
    const value = Buffer.from(JSON.stringify({ ...spec, annotations }));
    const runtime = { name: shim.runtime, options: undefined };
    await this.containers.create({
      container: {
        ...{
          id,
          runtime,
          image: "",
          labels: {},
          snapshotter: "",
          snapshotKey: "",
          sandbox: "",
          extensions: {},
        },
        spec: { typeUrl: SPEC, value },
        createdAt: undefined,
        updatedAt: undefined,
      },
    });
  }

  async create(containerId: string, timeoutMs = 30_000): Promise<void> {
    const none = {
      stdin: "",
      stdout: "",
      stderr: "",
      runtimePath: "",
      taskApiAddress: "",
      taskApiVersion: 0,
    };
    const request = { containerId, rootfs: [], terminal: false, ...none };
    await this.tasks.create({ ...request, checkpoint: undefined, options: undefined }, { timeoutMs });
  }

  [Symbol.dispose](): void {
    this.#channel.close();
  }
}

for (const shim of present) {
  describe.skipIf(!haveCtr)(`with ${shim.name}`, () => {
    test("containers of a group share a shim, which ends with the last of them", async () => {
      await using daemon = await Daemon.start();
      using client = new Client(daemon);
      for (const id of ["g1", "g2"]) {
        await client.container(id, shim, { "io.containerd.runc.v2.group": "pod" });
        await client.create(id);
        await client.tasks.start({ containerId: id, execId: "" });
      }
      const addressOf = (id: string) =>
        JSON.parse(fs.readFileSync(path.join(daemon.bundle(id), "bootstrap.json"), "utf8")).address;
      expect(addressOf("g2")).toBe(addressOf("g1"));
      for (const id of ["g1", "g2"]) {
        await client.tasks.kill({ containerId: id, execId: "", signal: 9, all: false });
        expect((await client.tasks.wait({ containerId: id, execId: "" })).exitStatus).toBe(137);
        expect((await client.tasks.delete({ containerId: id })).exitStatus).toBe(137);
        if (id === "g1") expect(await daemon.status("g2")).toBe("RUNNING");
      }
      await eventually(() => daemon.leaks().length === 0, { what: `no leaks: ${daemon.leaks()}` });
    }, 30_000);

    test("a shared shim that is killed takes all its containers along, and none is said to run", async () => {
      await using daemon = await Daemon.start();
      using client = new Client(daemon);
      for (const id of ["g1", "g2"]) {
        await client.container(id, shim, { "io.kubernetes.cri.sandbox-id": "pod/1" });
        await client.create(id);
        await client.tasks.start({ containerId: id, execId: "" });
      }
      const waits = ["g1", "g2"].map((containerId) => client.tasks.wait({ containerId, execId: "" }));
      process.kill(daemon.shimPid("g1"), "SIGKILL");
      for (const { exitStatus } of await Promise.all(waits)) expect(exitStatus).toBe(137);
      await eventually(async () => (await daemon.tasks()).length === 0, { what: "no tasks" });
      await eventually(() => daemon.leaks().length === 0, { what: `no leaks: ${daemon.leaks()}` });
    }, 30_000);

    test("a Create whose client gives up leaves nothing", async () => {
      await using daemon = await Daemon.start();
      using client = new Client(daemon);
      await client.container("c1", shim);
      for (const timeoutMs of [1, 5, 15, 25, 40]) {
        await client.create("c1", timeoutMs).catch(() => {});
        // Where it was quicker than the client there is a task.
        await eventually(async () => {
          await daemon.ctr("tasks", "delete", "--force", "c1");
          return daemon.leaks().length === 0;
        }).catch(() => expect(daemon.leaks()).toEqual([]));
      }
      await client.create("c1");
      expect(await daemon.status("c1")).toBe("CREATED");
    }, 90_000);

    test("Wait on a task whose shim is killed answers with its end", async () => {
      await using daemon = await Daemon.start();
      using client = new Client(daemon);
      await client.container("c1", shim);
      await client.create("c1");
      await client.tasks.start({ containerId: "c1", execId: "" });
      const wait = client.tasks.wait({ containerId: "c1", execId: "" });
      process.kill(daemon.shimPid("c1"), "SIGKILL");
      expect((await wait).exitStatus).toBe(137);
    }, 30_000);
  });
}

test.skipIf(!haveCtr || !ours)(
  "our shim over gRPC: run, restart of containerd, kill of the shim",
  async () => {
    const shim = ours as Shim;
    await using daemon = new Daemon({ env: { LONGSHORE_SHIM_PROTOCOL: "grpc" } });
    await daemon.start();
    expect(await daemon.run(shim, ["--rm"], "r1", "/bin/sh", "-c", "echo out; exit 7")).toMatchObject({
      status: 7,
      stdout: "out\n",
    });
    await daemon.runDetached(shim, "runs", "/bin/sleep", "1000");
    const bootstrap = JSON.parse(fs.readFileSync(path.join(daemon.bundle("runs"), "bootstrap.json"), "utf8"));
    expect([bootstrap.version, bootstrap.protocol]).toEqual([3, "grpc"]);
    await daemon.signal("SIGKILL");
    await daemon.start();
    expect(await daemon.status("runs")).toBe("RUNNING");
    process.kill(daemon.shimPid("runs"), "SIGKILL");
    await eventually(async () => (await daemon.tasks()).length === 0);
    await eventually(() => daemon.leaks().length === 0, { what: `no leaks: ${daemon.leaks()}` });
  },
  30_000,
);
