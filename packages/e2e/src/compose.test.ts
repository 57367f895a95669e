import { afterAll, describe, expect, test } from "bun:test";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { findExecutable, parseNatsUrl } from "@longshore/suite";
import { eventually, freePort, tempDir } from "@longshore/testkit";
import { Redis } from "ioredis";
import { connect } from "nats";
import { skipped, useWorld } from "./world.ts";

const file = path.resolve(import.meta.dir, "../../../docker-compose.test.yml");
const text = fs.readFileSync(file, "utf8");
const { services } = Bun.YAML.parse(text) as {
  services: Record<"nats" | "redis", { image: string; command: string[]; ports: string[] }>;
};
/** What the file tells to give to the tests. */
const url = (variable: string) => new RegExp(`${variable}=(\\S+)`).exec(text)?.[1] ?? "";
const natsUrl = url("LONGSHORE_TEST_NATS_URL");
const redisUrl = url("LONGSHORE_TEST_REDIS_URL");

const dir = tempDir();
const children: ChildProcess[] = [];
afterAll(async () => {
  for (const child of children) {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill();
    if (child.exitCode === null) await ended;
  }
  dir[Symbol.dispose]();
});

/** A service's own command line, with this machine's server of that name instead of the image's, at another port. */
function startService(server: string, words: string[], ...place: string[]): void {
  const child = spawn(server, [...words, ...place], { cwd: dir.path, stdio: "ignore" });
  children.push(child);
}

test("docker-compose.test.yml: two servers, on loopback alone, at the ports of the addresses that it names", () => {
  expect(Object.keys(services)).toEqual(["nats", "redis"]);
  expect(services.nats.ports).toEqual([`127.0.0.1:${new URL(natsUrl).port}:4222`]);
  expect(services.redis.ports).toEqual([`127.0.0.1:${new URL(redisUrl).port}:6379`]);
});

const compose = findExecutable("docker-compose");
if (!compose) skipped("docker-compose config: docker-compose is not installed");
test.skipIf(!compose)("docker-compose takes it", () => {
  const { status, stdout, stderr } = spawnSync(compose ?? "", ["-f", file, "config"], { encoding: "utf8" });
  expect(stderr).toBe("");
  expect(status).toBe(0);
  expect(stdout).toContain("redis:7-alpine");
});

const redisServer = findExecutable("redis-server");
if (!redisServer) skipped("docker-compose.test.yml: redis-server is not installed");
test.skipIf(!redisServer)("its redis answers", async () => {
  const port = await freePort();
  const [, ...words] = services.redis.command;
  startService(redisServer ?? "", words, "--port", `${port}`, "--bind", "127.0.0.1", "--dir", dir.path);
  const client = new Redis(redisUrl.replace(/:\d+\//, `:${port}/`), { retryStrategy: () => 50 });
  client.on("error", () => {}); // not up yet
  try {
    expect(await client.ping()).toBe("PONG");
  } finally {
    client.disconnect();
  }
});

const natsServer = findExecutable("nats-server");
describe.skipIf(!natsServer)("its nats", () => {
  const port = freePort();
  const given = port.then((number) => parseNatsUrl(natsUrl.replace(/:\d+$/, `:${number}`)));
  const world = useWorld(async () => {
    const place = ["--addr", "127.0.0.1", "--port", `${await port}`, "--store_dir", dir.path];
    startService(natsServer ?? "", services.nats.command, ...place);
    return { nats: await given };
  });

  test("serves an engine that is given it", async () => {
    const { suite } = world().engine;
    expect(suite.running("nats-server")).toBe(false);
    const { url: servers, token } = await given;
    expect(suite.natsUrl).toBe(servers);
    const id = await world().docker()("run", "-d", world().busybox, "sh", "-c", "exit 5");
    const client = await connect({ servers, token });
    try {
      const last_by_subj = `longshore.events.*.moby.tasks.exit.${id}`;
      const message = await eventually(async () => {
        const manager = await client.jetstreamManager();
        return manager.streams.getMessage("LONGSHORE_EVENTS", { last_by_subj });
      });
      expect(message.json()).toMatchObject({ source: "shim", event: { exit_status: 5 } });
    } finally {
      await client.close();
    }
    await world().docker()("rm", id);
  });
});
