import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { BootstrapParams, BootstrapResult } from "@longshore/api/containerd/runtime/bootstrap/v1/bootstrap";
import { type ContainerOptions, canRun, Harness, isAlive, type TestContainer, until } from "./harness.ts";

const GROUP = "io.containerd.runc.v2.group";
const POD = "io.kubernetes.cri.sandbox-id";

/** A container that says which group it is of. */
function member(annotations: Record<string, string>, more: Partial<ContainerOptions> = {}): ContainerOptions {
  return {
    args: ["sleep", "1000"],
    edit: (spec) => {
      spec.annotations = annotations;
    },
    ...more,
  };
}

async function end(container: TestContainer): Promise<void> {
  await container.kill(9);
  expect((await container.wait()).exitStatus).toBe(137);
  await container.delete();
  await container.task.shutdown({ id: container.id, now: false });
}

describe.skipIf(!canRun)("containers of a group", () => {
  test.each(["", "1"])(
    "share a shim that outlives the first and ends with the last (LONGSHORE_SHIM_STAY=%p)",
    async (stay) => {
      await using harness = new Harness();
      const env = { LONGSHORE_SHIM_STAY: stay };
      const first = await harness.container(member({ [GROUP]: "g", [POD]: "other" }, { env }));
      await first.create();
      await first.start();
      const second = await harness.container(member({ [GROUP]: "g" }, { env }));
      expect(second.address).toBe(first.address);
      expect(fs.existsSync(path.join(second.bundle, "shim.pid"))).toBe(false);
      if (stay) expect(await second.started?.exited).toBe(0);
      const alone = await harness.container(member({ [GROUP]: "h" }, { env }));
      expect(alone.address).not.toBe(first.address);
      const { pid } = await second.create();
      await second.start();
      const shim = first.shimPid;
      expect((await second.task.connect({ id: second.id })).shimPid).toBe(shim);
      expect(fs.readFileSync(`/proc/${pid}/status`, "utf8")).toContain(`PPid:\t${shim}\n`);
      await end(first);
      // As containerd does; it was the shim's working directory.
      fs.rmSync(first.bundle, { recursive: true });
      await second.exec("x1", ["sh", "-c", "exit 5"]);
      await second.start("x1");
      expect((await second.wait("x1")).exitStatus).toBe(5);
      const third = await harness.container(member({ [GROUP]: "g" }, { env }));
      expect(third.address).toBe(first.address);
      await third.create();
      await third.start();
      await end(second);
      expect(isAlive(shim)).toBe(true);
      await end(third);
      await until(() => !isAlive(shim), "the shim to end");
      await alone.shutdown();
      expect(harness.topics(third)).toEqual([
        "/tasks/create",
        "/tasks/start",
        "/tasks/exit",
        "/tasks/delete",
      ]);
      expect(fs.readdirSync(path.join(harness.dir, "s"))).toEqual([]);
    },
    30_000,
  );

  test("starts at the same time agree on one shim; a dead one's socket is replaced; protobuf answers too", async () => {
    await using harness = new Harness();
    const first = await harness.container(member({ [POD]: "p" }));
    const dead = first.shimPid;
    process.kill(dead, "SIGKILL");
    await until(() => !isAlive(dead), "its end");
    const others = await Promise.all([1, 2, 3, 4].map(() => harness.container(member({ [POD]: "p" }))));
    expect(new Set(others.map(({ address }) => address))).toEqual(new Set([first.address]));
    const owners = others.filter(({ bundle }) => fs.existsSync(path.join(bundle, "shim.pid")));
    expect(owners).toHaveLength(1);
    const [owner] = owners as [TestContainer];
    const [other] = others.filter((container) => container !== owner) as [TestContainer];
    const params = BootstrapParams.fromPartial({ instanceId: other.id, namespace: other.namespace });
    const answer = await other.startShim(BootstrapParams.encode(params).finish());
    expect(BootstrapResult.decode(Buffer.from(answer, "latin1"))).toMatchObject({ address: first.address });
    await owner.shutdown();
  }, 30_000);

  test("delete of one that was lost leaves the shim to the others", async () => {
    await using harness = new Harness();
    const first = await harness.container(member({ [POD]: "p" }));
    await first.create();
    await first.start();
    const second = await harness.container(member({ [POD]: "p" }));
    const { pid } = await second.create();
    await second.destroy();
    expect(isAlive(pid)).toBe(false);
    expect((await first.task.state({ id: first.id, execId: "" })).status).toBe(2);
    expect(fs.existsSync(first.address.slice("unix://".length))).toBe(true);
    await second.connect();
    await second.delete();
    await end(first);
    await until(() => !isAlive(first.shimPid), "the shim to end");
  }, 30_000);
});
