import { describe, expect, test } from "bun:test";
import path from "node:path";
import { type EventEnvelope, openEventBus } from "@longshore/events";
import { eventually, NatsServer, natsServer } from "@longshore/testkit";
import { Daemon, haveCtr, present } from "./daemon.ts";

if (!natsServer) console.warn("skipped: no nats-server on this machine");

/** The topics of a task's life and the one that may come late to a stream. */
const LIFE = ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"];

for (const shim of present) {
  describe.skipIf(!haveCtr || !natsServer)(`NATS, with ${shim.name}`, () => {
    test("every event once, in order, also those from while NATS was away", async () => {
      await using nats = await NatsServer.make();
      await nats.start();
      await using daemon = await Daemon.start("--nats-url", nats.url, "--nats-token-file", nats.tokenFile);
      const { url, tokenFile, dir } = nats;
      const bus = openEventBus({ url, tokenFile, queueFile: path.join(dir, "queue"), name: "test" });
      const stop = new AbortController();
      const seen: EventEnvelope[] = [];
      const subscription = bus.subscribe({ since: new Date(0), signal: stop.signal }, (event) => {
        seen.push(event);
      });
      const lifeOf = (id: string) =>
        seen.filter(({ topic, event }) => topic.startsWith("/tasks/") && event.container_id === id);

      expect((await daemon.run(shim, ["--rm"], "n1", "/bin/sh", "-c", "exit 3")).status).toBe(3);
      await eventually(() => lifeOf("n1").length >= LIFE.length, {
        what: `events, of ${JSON.stringify(seen)}`,
      });
      expect(lifeOf("n1").map(({ topic }) => topic)).toEqual(LIFE);
      expect(lifeOf("n1")[2]).toMatchObject({
        v: 1,
        namespace: daemon.namespace,
        source: shim.name === "our shim" ? "shim" : "containerd",
        event: { container_id: "n1", id: "n1", exit_status: 3 },
      });
      expect(seen.map(({ topic }) => topic)).toContain("/containers/create");

      await nats.stop("SIGKILL");
      expect((await daemon.run(shim, ["--rm"], "n2", "/bin/sh", "-c", "exit 4")).status).toBe(4);
      await nats.start();
      await eventually(() => lifeOf("n2").length >= LIFE.length, { timeoutMs: 60_000, what: "events of n2" });
      expect(lifeOf("n2").map(({ topic }) => topic)).toEqual(LIFE);
      const ids = seen.map(({ id }) => id);
      expect(new Set(ids).size).toBe(ids.length);
      stop.abort();
      await subscription;
      await bus.close();
    }, 90_000);
  });
}
