import { afterAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { eventually, NatsServer, natsServer } from "@longshore/testkit";
import { DiskQueue, type DiskQueueOptions } from "../src/disk-queue.ts";
import { type EventBus, type EventEnvelope, openEventBus, outgoingEvent } from "../src/index.ts";
import { findMissing } from "../src/journal.ts";
import { EventPublisher } from "../src/publisher.ts";

const openQueue = (options: DiskQueueOptions) => new DiskQueue(options);

const nats = await NatsServer.make();
const { dir, url, tokenFile } = nats;
const startServer = () => nats.start();
const stopServer = () => nats.stop();
const buses: EventBus[] = [];

afterAll(async () => {
  for (const bus of buses) await bus.close();
  await nats[Symbol.asyncDispose]();
});

const event = (id: string, pid: number) =>
  outgoingEvent(
    "/tasks/start",
    { containerId: id, pid },
    {
      host: "h",
      namespace: "moby",
      source: "shim",
      time: { seconds: 1n, nanos: 0 },
    },
  );

/** The same, of now: an event is looked for from its time on. */
const recent = (id: string, pid: number) =>
  outgoingEvent(
    "/tasks/start",
    { containerId: id, pid },
    {
      host: "h",
      namespace: "moby",
      source: "shim",
      time: { seconds: BigInt(Math.floor(Date.now() / 1000)), nanos: 0 },
    },
  );

function openBus(name: string): EventBus {
  const bus = openEventBus({ url, tokenFile, queueFile: path.join(dir, `${name}.queue`), name });
  buses.push(bus);
  return bus;
}

const pidsOf = (events: EventEnvelope[]) => events.map((e) => Number(e.event.pid));
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

describe.skipIf(!natsServer)("with a nats-server", () => {
  test("EventPublisher and EventBus deliver in order, once, across outages of the server", async () => {
    const trouble: Error[] = [];
    const publisher = new EventPublisher({
      openQueue,
      url,
      tokenFile,
      queueFile: path.join(dir, "shim.queue"),
      idleMs: 20,
      onTrouble: (error) => trouble.push(error),
    });
    const bus = openBus("bus");
    // The server is not there yet: both queue on disk.
    for (const pid of range(0, 5)) publisher.publish(event("shim", pid));
    for (const pid of range(0, 5)) bus.publish(event("bus", pid));
    await eventually(() => trouble.length === 1, { what: "the publisher notices that NATS is away" });
    expect(publisher.isHealthy).toBe(false);
    expect(fs.existsSync(path.join(dir, "shim.queue"))).toBe(true);

    await startServer();
    const abort = new AbortController();
    const seen: EventEnvelope[] = [];
    const subscribed = bus.subscribe(
      { topic: "/tasks/start", namespace: "moby", since: new Date(0), signal: abort.signal },
      (e) => {
        seen.push(e);
      },
    );
    expect(await publisher.flush(5000)).toBe(true);
    expect(await bus.flush(5000)).toBe(true);
    publisher.publish(event("shim", 4)); // a repeat
    for (const pid of range(5, 10)) publisher.publish(event("shim", pid));
    for (const pid of range(5, 10)) bus.publish(event("bus", pid));
    await eventually(() => seen.length >= 20, { what: "20 events" });

    await stopServer();
    await eventually(() => !bus.isConnected, { what: "the bus notices" });
    for (const pid of range(10, 15)) publisher.publish(event("shim", pid));
    for (const pid of range(10, 15)) bus.publish(event("bus", pid));
    await startServer();
    expect(await publisher.flush(8000)).toBe(true);
    await eventually(() => seen.length >= 30, { what: "30 events" });
    for (const id of ["shim", "bus"]) {
      expect(pidsOf(seen.filter((e) => e.event.container_id === id))).toEqual(range(0, 15));
    }
    expect(fs.existsSync(path.join(dir, "shim.queue"))).toBe(false);
    abort.abort();
    await subscribed;
    publisher.close();
  }, 30_000);

  test("a durable subscription goes on where its last run ended", async () => {
    if (!nats.isRunning) await startServer();
    const bus = openBus("durable");
    const run = async (expected: number) => {
      const abort = new AbortController();
      const seen: EventEnvelope[] = [];
      const subscribed = bus.subscribe(
        { durable: "d1", since: new Date(0), namespace: "moby", signal: abort.signal },
        (e) => {
          if (e.event.container_id === "dur") seen.push(e);
        },
      );
      await eventually(() => seen.length >= expected, { what: `${expected} events` });
      abort.abort();
      await subscribed;
      return pidsOf(seen);
    };
    for (const pid of range(0, 3)) bus.publish(event("dur", pid));
    expect(await run(3)).toEqual([0, 1, 2]);
    for (const pid of range(3, 6)) bus.publish(event("dur", pid));
    expect(await run(3)).toEqual([3, 4, 5]);
  }, 30_000);

  test("EventPublisher takes up the queue that an earlier process left", async () => {
    if (!nats.isRunning) await startServer();
    const queueFile = path.join(dir, "left.queue");
    fs.writeFileSync(queueFile, `${JSON.stringify(event("left", 1))}\n`);
    const publisher = new EventPublisher({ url, tokenFile, queueFile, openQueue });
    await eventually(() => !fs.existsSync(queueFile), { what: "the queue to be sent" });
    publisher.close();
  });

  test("a wrong token is trouble, not a crash", async () => {
    if (!nats.isRunning) await startServer();
    const wrong = path.join(dir, "wrong");
    fs.writeFileSync(wrong, "nope");
    const trouble: Error[] = [];
    const publisher = new EventPublisher({
      openQueue,
      url,
      tokenFile: wrong,
      queueFile: path.join(dir, "wrong.queue"),
      onTrouble: (error) => trouble.push(error),
    });
    publisher.publish(event("w", 1));
    await eventually(() => trouble.length > 0, { what: "trouble" });
    expect(trouble[0]?.message).toContain("Authorization Violation");
    publisher.close();
  });

  test("what the server acknowledged and lost is sent again by whoever has just sent it", async () => {
    const copy = `${dir}/js.before`;
    const file = path.join(dir, "again.queue");
    const publisher = new EventPublisher({ url, tokenFile, queueFile: file, openQueue });
    publisher.publish(event("again", 1));
    expect(await publisher.flush(5000)).toBe(true);
    await stopServer();
    fs.cpSync(`${dir}/js`, copy, { recursive: true });
    await startServer();
    expect(await publisher.flush(5000)).toBe(true);
    publisher.publish(event("again", 2));
    publisher.publish(event("again", 3));
    expect(await publisher.flush(5000)).toBe(true);
    await nats.stop("SIGKILL");
    fs.rmSync(`${dir}/js`, { recursive: true });
    fs.renameSync(copy, `${dir}/js`);
    await startServer();
    await eventually(
      async () => {
        const missing = await findMissing(
          [1, 2, 3].map((pid) => recent("again", pid)),
          { url, tokenFile },
        );
        return missing.length === 0;
      },
      { what: "the events in the stream" },
    );
    publisher.close();
  });

  test("a queue that is full says so once, and in the end how many events it could not take", async () => {
    await stopServer();
    const trouble: string[] = [];
    const publisher = new EventPublisher({
      ...{ url, tokenFile, queueFile: path.join(dir, "full.queue"), openQueue, queueLimitBytes: 2000 },
      onTrouble: ({ message }) => trouble.push(message),
    });
    for (const pid of range(0, 100)) publisher.publish(event("full", pid));
    await eventually(() => trouble.some((line) => line.includes("is full")), { what: "the trouble" });
    for (const pid of range(100, 120)) publisher.publish(event("full", pid));
    expect(trouble.filter((line) => line.includes("is full"))).toHaveLength(1);
    await startServer();
    expect(await publisher.flush(10_000)).toBe(true);
    expect(trouble.at(-1)).toMatch(/^1\d\d events found no room/);
    publisher.close();
  });

  test("findMissing() names in order what the stream lacks, also of one that is gone altogether", async () => {
    const events = range(0, 1200).map((pid) => recent("gaps", pid));
    const publisher = new EventPublisher({
      url,
      tokenFile,
      queueFile: path.join(dir, "gaps.queue"),
      openQueue,
    });
    for (const [index, one] of events.entries()) if (index % 100 !== 7) publisher.publish(one);
    expect(await publisher.flush(20_000)).toBe(true);
    publisher.close();
    const lacking = events.filter((_, index) => index % 100 === 7);
    expect(await findMissing(events, { url, tokenFile })).toEqual(lacking);
    await stopServer();
    fs.rmSync(`${dir}/js`, { recursive: true });
    await startServer();
    expect(await findMissing(events, { url, tokenFile })).toEqual(events);
  });

  test("a subscription goes on when the server comes back with an older stream", async () => {
    const bus = openBus("older");
    const stop = new AbortController();
    const seen: number[] = [];
    const subscription = bus.subscribe({ since: new Date(), signal: stop.signal }, ({ event: { pid } }) => {
      seen.push(Number(pid));
    });
    for (const pid of range(0, 50)) bus.publish(event("older", pid));
    await eventually(() => seen.includes(49), { what: "the first events" });
    await nats.stop("SIGKILL");
    fs.rmSync(`${dir}/js`, { recursive: true });
    await startServer();
    bus.publish(event("older", 1000));
    await eventually(() => seen.includes(1000), { what: "an event after the loss" });
    stop.abort();
    await subscription;
  });

  test("EventBus.last() gives the youngest event of a subject; what is published on its answer goes out too", async () => {
    const bus = openBus("last");
    const { signal } = new AbortController();
    const subject = (pid: number) => event(`last${pid}`, pid).subject;
    expect(await bus.last(subject(-1), signal)).toBeUndefined();
    for (const pid of range(0, 200)) {
      bus.publish(event(`last${pid}`, pid));
      // The answers to both may come in one piece.
      if (pid % 2 === 0) await bus.last(subject(pid), signal);
      await bus.last(subject(-1), signal);
      bus.publish(event(`last${pid}`, pid + 1000));
      const until = performance.now() + 2000;
      while ((await bus.last(subject(pid), signal))?.event.pid !== pid + 1000)
        if (performance.now() > until) throw new Error(`event ${pid} was not sent`);
    }
  }, 30_000);
});
