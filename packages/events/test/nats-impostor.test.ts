import { describe, expect, test } from "bun:test";
import path from "node:path";
import { eventually, NatsServer, natsServer } from "@longshore/testkit";
import { DiskQueue, type DiskQueueOptions } from "../src/disk-queue.ts";
import { now, type OutgoingEvent, openEventBus, outgoingEvent } from "../src/index.ts";
import { findMissing } from "../src/journal.ts";
import { EventPublisher } from "../src/publisher.ts";

const openQueue = (options: DiskQueueOptions) => new DiskQueue(options);

function started(containerId: string, pid: number) {
  const origin = { host: "h", namespace: "moby", source: "shim", time: now() } as const;
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

/** What the test asks of both clients. */
interface Client {
  publish(event: OutgoingEvent): void;
  flush(timeoutMs: number): Promise<boolean>;
  close(): Promise<void> | void;
}

const clients: Record<string, (nats: NatsServer) => Client> = {
  EventPublisher: (nats) => new EventPublisher({ ...guarded(nats), openQueue }),
  EventBus: (nats) => openEventBus({ ...guarded(nats), name: "guarded" }),
};

function guarded({ url, guardedTokenFile, dir }: NatsServer) {
  return { url, tokenFile: guardedTokenFile, queueFile: path.join(dir, "guarded.queue") };
}

describe.skipIf(!natsServer)("a client that knows the server's process", () => {
  test.each(Object.entries(clients))(
    "%s tells nothing to a process that takes the server's port, and does not believe it",
    async (_, connect) => {
      await using nats = await NatsServer.make();
      await nats.start();
      const client = connect(nats);
      client.publish(started("a", 1));
      expect(await client.flush(5000)).toBe(true);

      await nats.stop();
      const impostor = new Impostor(nats.port);
      client.publish(started("a", 2));
      await eventually(() => impostor.connections >= 2, { what: "connections to the impostor" });
      expect(await client.flush(0)).toBe(false);
      expect(impostor.received).toBe("");
      impostor.stop();

      await nats.start();
      expect(await client.flush(10_000)).toBe(true);
      const missing = await findMissing(
        [1, 2].map((pid) => started("a", pid)),
        nats,
      );
      expect(missing).toEqual([]);
      await client.close();
    },
    30_000,
  );

  test("takes no process of another mount namespace for the server", async () => {
    await using nats = await NatsServer.make();
    await nats.start(["unshare", "--mount"]);
    const trouble: string[] = [];
    const onTrouble = ({ message }: Error) => trouble.push(message);
    const publisher = new EventPublisher({ ...guarded(nats), openQueue, onTrouble });
    publisher.publish(started("a", 1));
    await eventually(() => trouble.length > 0, { what: "the trouble" });
    expect(trouble[0]).toBe(
      `port ${nats.port} is held by another process than the NATS server of ${nats.guardedTokenFile}.pid: ` +
        "it is not trusted with the token",
    );
    publisher.close();
  });
});

test("a server whose messages have no end, or no size, is left", async () => {
  await using nats = await NatsServer.make();
  const { dir, url, tokenFile, port } = nats;
  for (const answer of ["MSG a 1 999999999\r\n", "MSG a 1 -4\r\n", "MSG a 1 x\r\n", "x".repeat(70_000)]) {
    const trouble: string[] = [];
    const impostor = new Impostor(port, answer);
    const publisher = new EventPublisher({
      ...{ url, tokenFile, queueFile: path.join(dir, "endless.queue"), openQueue },
      onTrouble: ({ message }) => trouble.push(message),
    });
    publisher.publish(started("endless", 1));
    await eventually(() => trouble.length > 0, { what: "the trouble" });
    expect(trouble[0]).toMatch(/^NATS: a (message without a size, or too large|line that does not end)/);
    publisher.close();
    impostor.stop();
  }
});
