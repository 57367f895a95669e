import { afterAll, beforeAll, expect, test } from "bun:test";
import fs from "node:fs";
import { eventually, givenNats } from "@longshore/testkit";
import { connect, type NatsConnection } from "nats";
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
  client = await connect({ servers: natsUrl, token });
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

test("without the token nobody gets in", async () => {
  expect(connect({ servers: world().engine.suite.natsUrl, reconnect: false })).rejects.toThrow(
    /authorization/i,
  );
  expect(fs.statSync(world().engine.suite.paths.natsTokenFile).mode & 0o777).toBe(0o600);
});
