import { describe, expect, test } from "bun:test";
import path from "node:path";
import { connectStdio, formatStdioUri } from "@longshore/stdio";
import { canRun, Harness, isAlive, until } from "./harness.ts";

const OUTPUT_BYTES = 20_000_000;

/** A client that takes nothing until it is told to. */
async function lag(socketPath: string) {
  const client = { bytes: 0, ended: false };
  const { pause, resume, close } = await connectStdio(socketPath, {
    data: (_, piece) => {
      client.bytes += piece.length;
    },
    end: () => {
      client.ended = true;
    },
  });
  pause();
  return Object.assign(client, { resume, close });
}

describe.skipIf(!canRun)("a client that lags when the process has ended", () => {
  test("of a container: it gets all, though the task is deleted and the shim told to end", async () => {
    await using harness = new Harness();
    const container = await harness.container({ args: ["head", "-c", String(OUTPUT_BYTES), "/dev/zero"] });
    const socketPath = path.join(harness.dir, "io");
    await container.create({ stdout: formatStdioUri({ socketPath }) });
    const client = await lag(socketPath);
    const { shimPid } = container;
    await container.start();
    expect((await container.wait()).exitStatus).toBe(0);
    await container.delete();
    await container.task.shutdown({ id: container.id, now: false });
    client.resume();
    await until(() => client.ended, "the end of the output", 30_000);
    expect(client.bytes).toBe(OUTPUT_BYTES);
    await until(() => !isAlive(shimPid), "the shim to end");
  }, 60_000);

  test("of an exec: the same; one that takes nothing is given up", async () => {
    await using harness = new Harness();
    const container = await harness.container({ args: ["sleep", "1000"] });
    await container.create();
    await container.start();
    const sockets = ["one", "two"].map((name) => path.join(harness.dir, name));
    const clients: Awaited<ReturnType<typeof lag>>[] = [];
    for (const [index, socketPath] of sockets.entries()) {
      const id = `e${index}`;
      await container.exec(id, ["head", "-c", String(OUTPUT_BYTES), "/dev/zero"], {
        stdout: formatStdioUri({ socketPath }),
      });
      clients.push(await lag(socketPath));
      await container.start(id);
      expect((await container.wait(id)).exitStatus).toBe(0);
      await container.delete(id);
    }
    const [taking, stuck] = clients;
    taking?.resume();
    await until(() => taking?.ended === true, "the end of the output", 30_000);
    expect(taking?.bytes).toBe(OUTPUT_BYTES);
    await container.kill(9);
    await container.wait();
    const { shimPid } = container;
    await container.delete();
    await container.task.shutdown({ id: container.id, now: false });
    await until(() => !isAlive(shimPid), "the shim to end", 30_000);
    stuck?.close();
  }, 90_000);
});
