import { expect, test } from "bun:test";
import path from "node:path";
import { DiskQueue, type DiskQueueOptions } from "../src/disk-queue.ts";
import { openEventBus, outgoingEvent } from "../src/index.ts";
import { EventPublisher } from "../src/publisher.ts";
import { natsServer, TestNats, until } from "./test-nats.ts";

const openQueue = (options: DiskQueueOptions) => new DiskQueue(options);

function started(containerId: string, pid: number) {
  const origin = { host: "h", namespace: "moby", source: "shim", time: { seconds: 1n, nanos: 0 } } as const;
  return outgoingEvent("/tasks/start", { containerId, pid }, origin);
}

/** Listens on the server's port and says at once whatever makes a client go on. */
class Impostor {
  connections = 0;
  received = "";
  readonly #listener: { stop(closeActive: boolean): void };

  constructor(port: number, answer = `MSG a 1 2\r\n{}\r\n`) {
    const info = { server_id: "X", version: "2.9.0", max_payload: 1 << 20, headers: true, jetstream: true };
    this.#listener = Bun.listen({
      hostname: "127.0.0.1",
      port,
      socket: {
        open: (socket) => {
          this.connections++;
          socket.write(`INFO ${JSON.stringify(info)}\r\nPONG\r\n${answer}`);
        },
        data: (_, chunk) => {
          this.received += chunk.toString();
        },
      },
    });
  }

  stop(): void {
    this.#listener.stop(true);
  }
}

test.skipIf(!natsServer)(
  "who takes the port while the server is away gets no token, and is not believed",
  async () => {
    await using nats = new TestNats();
    await nats.start();
    const { dir, port, url } = nats;
    const files = (name: string) => ({
      url,
      tokenFile: nats.guardedTokenFile,
      queueFile: path.join(dir, name),
    });
    const trouble: string[] = [];
    const publisher = new EventPublisher({
      ...files("guarded-shim.queue"),
      openQueue,
      onTrouble: ({ message }) => trouble.push(message),
    });
    const bus = openEventBus({ ...files("guarded-bus.queue"), name: "guarded" });
    publisher.publish(started("guarded-shim", 1));
    bus.publish(started("guarded-bus", 1));
    expect(await publisher.flush(5000)).toBe(true);
    expect(await bus.flush(5000)).toBe(true);
    expect(bus.isConnected).toBe(true);

    await nats.stop();
    await until(() => !bus.isConnected, "the bus notices");
    const impostor = new Impostor(port);
    publisher.publish(started("guarded-shim", 2));
    bus.publish(started("guarded-bus", 2));
    await until(() => trouble.some((line) => line.includes("not trusted with the token")), "the refusal");
    expect(trouble.at(-1)).toContain(`port ${port} is held by another process than the NATS server of`);
    await until(() => impostor.connections >= 4, "tries of both");
    expect(impostor.received).toBe("");
    expect([publisher.isIdle, bus.isConnected]).toEqual([false, false]);
    impostor.stop();

    await nats.start();
    expect(await publisher.flush(10_000)).toBe(true);
    expect(await bus.flush(10_000)).toBe(true);
    for (const id of ["guarded-shim", "guarded-bus"]) {
      const last = await bus.last(started(id, 2).subject, AbortSignal.timeout(5000));
      expect(last?.event.pid).toBe(2);
    }
    publisher.close();
    await bus.close();
  },
  30_000,
);

test.skipIf(!natsServer)(
  "a process of another mount namespace is not the server, whatever its pid",
  async () => {
    await using nats = new TestNats();
    await nats.start(["unshare", "--mount"]);
    const trouble: string[] = [];
    const publisher = new EventPublisher({
      ...{
        url: nats.url,
        tokenFile: nats.guardedTokenFile,
        queueFile: path.join(nats.dir, "queue"),
        openQueue,
      },
      onTrouble: ({ message }) => trouble.push(message),
    });
    publisher.publish(started("elsewhere", 1));
    await until(() => trouble.length > 0, "the trouble");
    expect(trouble[0]).toContain("not trusted with the token");
    publisher.close();
  },
);

test("a server whose messages have no end, or no size, is left", async () => {
  await using nats = new TestNats();
  const { dir, url, tokenFile, port } = nats;
  for (const answer of ["MSG a 1 999999999\r\n", "MSG a 1 -4\r\n", "MSG a 1 x\r\n", "x".repeat(70_000)]) {
    const trouble: string[] = [];
    const impostor = new Impostor(port, answer);
    const publisher = new EventPublisher({
      ...{ url, tokenFile, queueFile: path.join(dir, "endless.queue"), openQueue },
      onTrouble: ({ message }) => trouble.push(message),
    });
    publisher.publish(started("endless", 1));
    await until(() => trouble.length > 0, "the trouble");
    expect(trouble[0]).toMatch(/^NATS: a (message without a size, or too large|line that does not end)/);
    publisher.close();
    impostor.stop();
  }
});
