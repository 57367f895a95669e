import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import { findExecutable, realContainerd, realContainerdRelease } from "@longshore/suite";
import { eventually, givenNats, run } from "@longshore/testkit";
import { connect, type NatsConnection } from "nats";
import { skipped, useWorld } from "./world.ts";

const containerd = realContainerd();
const ctr = findExecutable("ctr");
/** Later ones, when they start, destroy a shim whose process has ended, and its exit status with it. */
const keepsExits = realContainerdRelease() === "1.6";
if (containerd && !keepsExits) skipped("exits while the real containerd is dead: only 1.6 keeps them");
if (!containerd || !ctr) skipped("events of the real containerd on NATS: containerd or ctr is not installed");

interface Envelope {
  id: string;
  topic: string;
  source: string;
  namespace: string;
  time: string;
  event: { container_id?: string; id?: string; name?: string; exit_status?: number; exited_at?: string };
}

describe.skipIf(!containerd || !ctr)("events of a containerd that doesn't speak to NATS", () => {
  const world = useWorld({ components: { ...(containerd && { containerd }) } });
  const docker = (...args: string[]) => world().docker()(...args);
  /** Every message, repeats included: this is no consumer of the stream, which would not see them. */
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

  const of = (id: string) =>
    seen.filter(({ envelope: { event } }) => (event.container_id ?? event.id) === id);
  const exitsOf = (id: string) => of(id).filter(({ envelope: { topic } }) => topic === "/tasks/exit");
  const inStream = async (subject: string) => {
    const manager = await client.jetstreamManager();
    const { state } = await manager.streams.info("LONGSHORE_EVENTS", { subjects_filter: subject });
    return Object.values(state.subjects ?? {}).reduce((sum, count) => sum + count, 0);
  };
  const exitSubject = (id: string) => `longshore.events.*.moby.tasks.exit.${id}`;

  test("a container's life, an exec's end, another namespace: once each, as ours tells it", async () => {
    const id = await docker("run", "-d", world().busybox, "sh", "-c", "sleep 1000 & wait; exit 5");
    expect((await world().docker().run(["exec", id, "sh", "-c", "exit 9"])).status).toBe(9);
    await docker("kill", "-s", "KILL", id);
    await eventually(() => exitsOf(id).length === 2, { what: "both exits" });
    await docker("rm", id);
    await eventually(() => of(id).some(({ envelope }) => envelope.topic === "/containers/delete"), {
      what: "the container's delete event",
    });
    const topics = of(id).map(({ envelope: { topic } }) => topic);
    expect(topics.filter((topic) => topic.startsWith("/tasks/")).sort()).toEqual(
      [
        ...["/tasks/create", "/tasks/start", "/tasks/exec-added", "/tasks/exec-started"],
        ...["/tasks/exit", "/tasks/exit", "/tasks/delete"],
      ].sort(),
    );
    expect(topics.filter((topic) => topic === "/containers/create")).toHaveLength(1);
    expect(exitsOf(id).map(({ envelope }) => envelope.event.exit_status)).toEqual([9, 137]);
    const [, exit] = exitsOf(id);
    expect(exit?.envelope).toMatchObject({ source: "containerd", namespace: "moby" });
    expect(exit?.envelope.id).toMatch(new RegExp(`^moby/${id}//tasks/exit/[0-9]+$`));
    expect(exit?.envelope.event.exited_at).toMatch(/^\d{4}-\d\d-\d\dT[\d:]+\.\d{9}Z$/);
    expect(exit?.subject).toEndWith(`.moby.tasks.exit.${id}`);

    await docker("tag", world().busybox, "named:here");
    await eventually(() =>
      seen.some(
        ({ envelope: { topic, event } }) => topic === "/images/create" && event.name?.endsWith("/named:here"),
      ),
    );
    await docker("rmi", "named:here");

    const socket = world().engine.suite.paths.containerdSocket;
    expect(await run([ctr ?? "", "-a", socket, "namespaces", "create", "elsewhere"])).toMatchObject({
      status: 0,
    });
    await eventually(() => seen.some(({ subject }) => subject.endsWith(".namespaces.create.elsewhere")));
    await run([ctr ?? "", "-a", socket, "namespaces", "remove", "elsewhere"]);
  });

  test("what ends while dockerd is dead, or containerd, or both, is told once and with its true status", async () => {
    const { suite } = world().engine;
    for (const [status, dead] of [
      [11, ["dockerd"]],
      ...(keepsExits
        ? ([
            [12, ["containerd"]],
            [13, ["dockerd", "containerd"]],
          ] as const)
        : []),
    ] as const) {
      const id = await docker(
        "run",
        "-d",
        world().busybox,
        "sh",
        "-c",
        `trap "exit ${status}" TERM; while :; do usleep 10000; done`,
      );
      const pid = Number(await docker("inspect", "--format", "{{.State.Pid}}", id));
      for (const name of dead) await suite.kill(name, "SIGKILL");
      process.kill(pid, "SIGTERM");
      await eventually(() => !fs.existsSync(`/proc/${pid}`), { what: "its end" });
      for (const name of [...dead].reverse()) await suite.start(name);
      await eventually(() => exitsOf(id).length > 0, {
        what: `the exit event after ${dead.join(" and ")} died`,
      });
      expect(exitsOf(id)[0]?.envelope.event.exit_status).toBe(status);
      await eventually(async () =>
        (await docker("ps", "-a", "--format", "{{.Status}}")).startsWith(`Exited (${status}) `),
      );
      await docker("rm", id);
      // Were it told again, then at the next start.
      await suite.restart("dockerd");
      expect(exitsOf(id)).toHaveLength(1);
      expect(await inStream(exitSubject(id))).toBe(1);
    }
  }, 60_000);

  test.skipIf(givenNats !== undefined)(
    "NATS away: calls work, and the events come when it is back",
    async () => {
      const { suite } = world().engine;
      await suite.kill("nats-server", "SIGKILL");
      const id = await docker("run", "-d", world().busybox, "sh", "-c", "exit 7");
      await eventually(async () =>
        (await docker("ps", "-a", "--format", "{{.Status}}")).startsWith("Exited (7) "),
      );
      await suite.start("nats-server");
      await eventually(async () => (await inStream(exitSubject(id))) === 1, {
        timeoutMs: 20_000,
        what: "the exit event",
      });
      await docker("rm", id);
    },
  );
});
