import { afterAll, beforeAll, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { findExecutable } from "@longshore/suite";
import { eventually, givenNats } from "@longshore/testkit";
import { AckPolicy, connect, DeliverPolicy, type NatsConnection } from "nats";
import { streamEvents } from "./chaos/witness.ts";
import { skipped, useWorld } from "./world.ts";

if (givenNats) skipped("NATS goes away: the server of LONGSHORE_TEST_NATS_URL is not ours to stop");

/** The fields of an event on NATS that these tests look at; ARCHITECTURE.md has all. */
interface Envelope {
  id: string;
  topic: string;
  source: string;
  namespace: string;
  event: { container_id?: string; id?: string; exit_status?: number; pid?: number };
}

const world = useWorld();
const docker = (...args: string[]) => world().docker()(...args);
const seen: { subject: string; envelope: Envelope }[] = [];
let client: NatsConnection;

beforeAll(async () => {
  const { natsUrl, paths } = world().engine.suite;
  const token = fs.readFileSync(paths.natsTokenFile, "utf8").trim();
  client = await connect({ servers: natsUrl, token, maxReconnectAttempts: -1, reconnectTimeWait: 100 });
  const subscription = client.subscribe("longshore.events.>");
  void (async () => {
    for await (const message of subscription)
      seen.push({ subject: message.subject, envelope: message.json<Envelope>() });
  })();
  await client.flush();
});
afterAll(() => client?.close());

const of = (id: string, topic: string) =>
  seen.filter(
    ({ envelope }) => envelope.topic === topic && (envelope.event.container_id ?? envelope.event.id) === id,
  );

test("create, start and exit of a task arrive once each, the exit from the shim", async () => {
  const id = await docker("run", "-d", world().busybox, "sh", "-c", "exit 5");
  await eventually(() => of(id, "/tasks/exit").length > 0, { what: "the exit event" });
  for (const topic of ["/tasks/create", "/tasks/start", "/tasks/exit"]) {
    await eventually(() => of(id, topic).length > 0, { what: topic });
    expect(of(id, topic)).toHaveLength(1);
  }
  const [exit] = of(id, "/tasks/exit");
  expect(exit?.envelope.source).toBe("shim");
  expect(exit?.envelope.event.exit_status).toBe(5);
  expect(exit?.subject).toEndWith(`.moby.tasks.exit.${id}`);
  await docker("rm", "-f", id);
});

test("memory that runs out deep inside is told, and the container lives on", async () => {
  const script = "sh -c 'sleep 0.2; tail /dev/zero; true'; exec sleep 1000";
  const id = await docker("run", "-d", "--memory", "16m", world().busybox, "sh", "-c", script);
  await eventually(() => of(id, "/tasks/oom").length > 0, { what: "the oom event on NATS" });
  const state = () => docker("inspect", "-f", "{{.State.Running}} {{.State.OOMKilled}}", id);
  await eventually(async () => (await state()) === "true true", { what: "docker inspect to tell" });
  const filters = ["--filter", `container=${id}`, "--filter", "event=oom"];
  const shown = ["--since", "1m", "--until", "0s", "--format", "{{.Action}}"];
  // The client makes whole seconds of "now".
  await eventually(async () => (await docker("events", ...shown, ...filters)) === "oom", {
    what: "docker events to show it once",
  });
  await docker("rm", "-f", id);
});

test("the exit arrives although dockerd and containerd are dead", async () => {
  const { suite } = world().engine;
  const id = await docker("run", "-d", world().busybox, "sh", "-c", "sleep 1; exit 6");
  await suite.kill("dockerd", "SIGKILL");
  await suite.kill("containerd", "SIGKILL");
  await eventually(() => of(id, "/tasks/exit").length > 0, { what: "the exit event" });
  expect(of(id, "/tasks/exit")[0]?.envelope.event.exit_status).toBe(6);
  await suite.start("containerd");
  await suite.start("dockerd");
  await docker("rm", "-f", id);
});

test.skipIf(givenNats !== undefined)(
  "calls work while NATS is away, and its events arrive when it is back",
  async () => {
    const { suite } = world().engine;
    await suite.kill("nats-server", "SIGKILL");
    const id = await docker("run", "-d", world().busybox, "sh", "-c", "exit 7");
    const status = () => docker("ps", "-a", "--filter", `id=${id}`, "--format", "{{.Status}}");
    await eventually(async () => (await status()).startsWith("Exited (7) "), { what: "its exit status" });
    await suite.start("nats-server");
    // From the stream: whoever subscribes again after the server's start may have missed it.
    const subject = `longshore.events.*.moby.tasks.exit.${id}`;
    const message = await eventually(
      async () => {
        const manager = await client.jetstreamManager();
        return manager.streams.getMessage("LONGSHORE_EVENTS", { last_by_subj: subject });
      },
      { what: "the exit event in the stream", timeoutMs: 20_000 },
    );
    expect(message.json<Envelope>().event.exit_status).toBe(7);
    await docker("rm", "-f", id);
  },
);

/** The topics of a container's life in the stream, in its order. */
async function lifeInStream(id: string): Promise<string[]> {
  const events = await streamEvents(client, { filter: "longshore.events.*.moby.tasks.>" });
  return events
    .filter(({ event }) => (event.container_id ?? event.id) === id)
    .map(({ topic, event }) => (topic === "/tasks/exit" ? `${topic} ${event.exit_status}` : topic));
}

const lifeWith = (status: number) => [
  "/tasks/create",
  "/tasks/start",
  `/tasks/exit ${status}`,
  "/tasks/delete",
];

for (const victims of [["nats-server"], ["dockerd", "containerd", "nats-server"]] as const) {
  test.skipIf(givenNats !== undefined)(
    `events that NATS acknowledged and lost in a power cut are in the stream again (${victims.join(", ")})`,
    async () => {
      const { suite } = world().engine;
      const { natsStore } = suite.paths;
      const before = await docker("run", "-d", world().busybox, "sh", "-c", "exit 8");
      await docker("wait", before);
      await docker("rm", before);
      await eventually(async () => (await lifeInStream(before)).length === 4, { what: "its life" });
      await suite.restart("nats-server");
      await suite.kill("nats-server", "SIGKILL");
      fs.cpSync(natsStore, `${natsStore}.copy`, { recursive: true });
      await suite.start("nats-server");
      const ids: string[] = [];
      for (const status of [9, 10]) {
        const id = await docker("run", "-d", world().busybox, "sh", "-c", `exit ${status}`);
        await docker("wait", id);
        await docker("rm", id);
        await eventually(async () => (await lifeInStream(id)).length === 4, { what: "its life" });
        ids.push(id);
      }
      for (const name of victims) await suite.kill(name, "SIGKILL");
      fs.rmSync(natsStore, { recursive: true });
      fs.renameSync(`${natsStore}.copy`, natsStore);
      for (const name of victims.toReversed()) await suite.start(name);
      for (const [index, id] of ids.entries()) {
        await eventually(async () => (await lifeInStream(id)).length >= 4, {
          what: "what was lost",
          timeoutMs: 20_000,
        });
        expect(await lifeInStream(id)).toEqual(lifeWith(9 + index));
      }
      expect(await lifeInStream(before)).toEqual(lifeWith(8));
    },
  );
}

test.skipIf(givenNats !== undefined)(
  "a consumer that was away gets what it missed, once and in order, also across a kill of NATS",
  async () => {
    const { suite } = world().engine;
    const manager = await client.jetstreamManager();
    const filter = { filter_subject: "longshore.events.*.moby.tasks.>" };
    await manager.consumers.add("LONGSHORE_EVENTS", {
      ...{ durable_name: "away", ack_policy: AckPolicy.Explicit, deliver_policy: DeliverPolicy.New },
      ...filter,
    });
    const ids: string[] = [];
    for (let status = 0; status < 6; status++) {
      if (status === 3) await suite.kill("nats-server", "SIGKILL");
      const id = await docker("run", "-d", world().busybox, "sh", "-c", `exit ${status}`);
      await docker("wait", id);
      await docker("rm", id);
      ids.push(id);
    }
    await suite.start("nats-server");
    const got: Envelope[] = [];
    await eventually(
      async () => {
        const consumer = await client.jetstream().consumers.get("LONGSHORE_EVENTS", "away");
        for await (const message of await consumer.fetch({ max_messages: 100, expires: 1000 })) {
          got.push(message.json<Envelope>());
          await message.ackAck();
        }
        return got.length >= 24;
      },
      { what: "what it missed", timeoutMs: 30_000 },
    );
    for (const [status, id] of ids.entries()) {
      const life = got.filter(({ event }) => (event.container_id ?? event.id) === id);
      expect(
        life.map(({ topic, event }) => (topic === "/tasks/exit" ? `${topic} ${event.exit_status}` : topic)),
      ).toEqual(lifeWith(status));
    }
    await manager.consumers.delete("LONGSHORE_EVENTS", "away");
  },
);

const ctr = findExecutable("ctr");
if (!ctr) skipped("ctr is not installed: containerd's event service is not compared with the stream");

test.skipIf(!ctr)("containerd's event service shows what the stream has", async () => {
  const { suite } = world().engine;
  const begun = new Date();
  const watcher = Bun.spawn([ctr ?? "", "--address", suite.paths.containerdSocket, "events"], {
    stdout: Bun.file(path.join(world().engine.dir, "ctr-events")),
    stderr: "ignore",
  });
  try {
    const shown = () =>
      fs
        .readFileSync(path.join(world().engine.dir, "ctr-events"), "utf8")
        .split("\n")
        .flatMap((line) => / moby (\/\S+) (\{.*\})$/.exec(line)?.slice(1) ?? []);
    // It has subscribed once it shows something.
    await eventually(async () => {
      await docker("rm", await docker("create", world().busybox, "true"));
      return shown().length > 0;
    });
    const id = await docker("run", "-d", world().busybox, "sh", "-c", "exit 11");
    await docker("wait", id);
    await docker("exec", id, "true").catch(() => {});
    await docker("rm", id);
    const inStream = async () =>
      (await streamEvents(client, { filter: "longshore.events.*.moby.>", since: begun }))
        .filter(({ event }) => [event.container_id, event.id].includes(id))
        .map(({ topic }) => topic);
    const onGrpc = () => {
      const words = shown();
      return words.filter((_, index) => index % 2 === 0 && words[index + 1]?.includes(`"${id}"`));
    };
    await eventually(async () => (await inStream()).includes("/containers/delete"));
    await eventually(
      async () =>
        onGrpc().filter((topic) => topic !== "/snapshot/remove").length >= (await inStream()).length,
    );
    const sorted = (topics: string[]) => topics.filter((topic) => !topic.startsWith("/snapshot")).sort();
    expect(sorted(onGrpc())).toEqual(sorted(await inStream()));
  } finally {
    watcher.kill();
    await watcher.exited;
  }
});

test("without the token nobody gets in", async () => {
  expect(connect({ servers: world().engine.suite.natsUrl, reconnect: false })).rejects.toThrow(
    /authorization/i,
  );
  expect(fs.statSync(world().engine.suite.paths.natsTokenFile).mode & 0o777).toBe(0o600);
});
