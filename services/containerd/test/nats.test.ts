import { describe, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { type EventEnvelope, openEventBus } from "@longshore/events";
import { eventually, freePort, tempDir } from "@longshore/testkit";
import { Daemon, haveCtr, present } from "./daemon.ts";

const NATS = ["/usr/sbin/nats-server", "/usr/bin/nats-server"].find((file) => fs.existsSync(file));
if (!NATS) console.warn("skipped: no nats-server on this machine");

/** A NATS server of our own, with a token. */
class NatsServer implements AsyncDisposable {
  readonly #dir = tempDir();
  readonly tokenFile = path.join(this.#dir.path, "token");
  readonly queueFile = path.join(this.#dir.path, "queue");
  readonly port: number;
  #process: ChildProcess | undefined;

  constructor(port: number) {
    this.port = port;
    fs.writeFileSync(this.tokenFile, "secret", { mode: 0o600 });
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  start(): void {
    const store = ["-js", "-sd", path.join(this.#dir.path, "js")];
    const args = ["-a", "127.0.0.1", "-p", `${this.port}`, "--auth", "secret", ...store];
    this.#process = spawn(NATS ?? "", args, { stdio: "ignore" });
  }

  async stop(): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    this.#dir[Symbol.dispose]();
  }
}

/** The topics of a task's life and the one that may come late to a stream. */
const LIFE = ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"];

for (const shim of present) {
  describe.skipIf(!haveCtr || !NATS)(`NATS, with ${shim.name}`, () => {
    test("every event once, in order, also those from while NATS was away", async () => {
      await using nats = new NatsServer(await freePort());
      nats.start();
      await using daemon = await Daemon.start("--nats-url", nats.url, "--nats-token-file", nats.tokenFile);
      const { url, tokenFile, queueFile } = nats;
      const bus = openEventBus({ url, tokenFile, queueFile, name: "test" });
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

      await nats.stop();
      expect((await daemon.run(shim, ["--rm"], "n2", "/bin/sh", "-c", "exit 4")).status).toBe(4);
      nats.start();
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
