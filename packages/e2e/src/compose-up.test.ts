import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { findExecutable, type LocalImage, parseNatsUrl, serveImages } from "@longshore/suite";
import { type CommandOptions, eventually, freePort, run, type TempDir, tempDir } from "@longshore/testkit";
import { Redis } from "ioredis";
import { connect } from "nats";
import { programImage } from "./program-image.ts";
import { skipped, useWorld } from "./world.ts";

const compose = findExecutable("docker-compose");
if (!compose) skipped("docker-compose up: docker-compose is not installed");

describe.skipIf(!compose)("docker-compose", () => {
  const world = useWorld();
  let dir: TempDir;
  beforeAll(() => {
    dir = tempDir();
  });
  afterAll(() => dir?.[Symbol.dispose]());

  const attempt = (file: string, args: string[], options: CommandOptions = {}) =>
    run([compose ?? "", "-f", file, ...args], {
      timeoutMs: 100_000,
      ...options,
      env: {
        DOCKER_HOST: world().engine.suite.dockerHost,
        DOCKER_CONFIG: path.join(world().engine.dir, "client"),
        COMPOSE_PROJECT_NAME: "project",
        COMPOSE_HTTP_TIMEOUT: "90",
        ...options.env,
      },
    });
  const composed = async (file: string, ...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await attempt(file, args);
    expect(`${status} ${status === 0 ? "" : stdout + stderr}`).toBe("0 ");
    return stdout;
  };

  test("a project of several services: up, ps, exec, logs, port, scale, restart, a changed file, down", async () => {
    const file = path.join(dir.path, "docker-compose.yml");
    const yaml = (greeting: string) => `
version: "2.4"
services:
  web:
    image: ${world().busybox}
    command: ["sh", "-c", "cp /conf/index.html /www && echo serving && exec httpd -f -p 80 -h /www"]
    environment:
      GREETING: ${greeting}
    ports: ["127.0.0.1::80"]
    volumes: ["www:/www", "./conf:/conf:ro"]
    networks:
      front: {aliases: [site]}
    healthcheck: {test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://localhost/"], interval: 200ms, timeout: 5s, retries: 20}
    mem_limit: 64m
    labels: {of.the.user: "yes"}
  client:
    image: ${world().busybox}
    command: ["sh", "-c", "wget -q -O - http://site/; trap 'exit 0' TERM; while :; do usleep 20000; done"]
    depends_on: {web: {condition: service_healthy}}
    networks: [front, back]
    stop_grace_period: 5s
    tmpfs: ["/fast"]
  once:
    image: ${world().busybox}
    command: ["sh", "-c", "exit 7"]
    networks: [back]
networks:
  front: {}
  back: {internal: true}
volumes:
  www: {}
`;
    fs.mkdirSync(path.join(dir.path, "conf"));
    fs.writeFileSync(path.join(dir.path, "conf/index.html"), "from compose\n");
    fs.writeFileSync(file, yaml("one"));
    const docker = world().docker();
    await composed(file, "up", "-d");
    expect(await docker("volume", "ls", "-q")).toBe("project_www");
    expect((await docker("network", "ls", "--format", "{{.Name}}")).split("\n").sort()).toEqual(
      ["bridge", "host", "none", "project_back", "project_front"].sort(),
    );
    const idOf = async (service: string) => (await composed(file, "ps", "-a", "-q", service)).trim();
    const web = await idOf("web");
    expect(await docker("inspect", "-f", "{{.State.Health.Status}} {{.HostConfig.Memory}}", web)).toBe(
      `healthy ${64 << 20}`,
    );
    await eventually(async () => (await composed(file, "logs", "client")).includes("from compose"), {
      timeoutMs: 30_000,
    });
    const address = (await composed(file, "port", "web", "80")).trim();
    expect(await (await fetch(`http://${address}/`)).text()).toBe("from compose\n");
    expect(await composed(file, "exec", "-T", "web", "sh", "-c", "echo $GREETING")).toBe("one\n");
    const failing = await attempt(file, ["exec", "-T", "web", "sh", "-c", "exit 3"]);
    expect(failing.status).toBe(3);
    const once = await idOf("once");
    expect(await docker("wait", once)).toBe("7");
    expect(await composed(file, "run", "--rm", "client", "echo", "a run of its own")).toContain(
      "a run of its own",
    );
    expect(await composed(file, "top", "web")).toContain("httpd");

    await composed(file, "up", "-d", "--scale", "client=2");
    expect((await composed(file, "ps", "-q", "client")).trim().split("\n")).toHaveLength(2);
    await composed(file, "restart", "-t", "2", "client");
    await composed(file, "pause", "web");
    expect(await docker("inspect", "-f", "{{.State.Status}}", web)).toBe("paused");
    await composed(file, "unpause", "web");
    // Only what has changed is made anew.
    const clients = await composed(file, "ps", "-q", "client");
    fs.writeFileSync(file, yaml("two"));
    await composed(file, "up", "-d", "--no-deps", "web");
    expect(await idOf("web")).not.toBe(web);
    expect(await composed(file, "ps", "-q", "client")).toContain(clients.trim().split("\n")[0] ?? "-");
    expect(await composed(file, "exec", "-T", "web", "sh", "-c", "echo $GREETING")).toBe("two\n");
    await composed(file, "down", "-v", "-t", "2");
    expect(await docker("ps", "-aq")).toBe("");
    expect(await docker("volume", "ls", "-q")).toBe("");
    expect(await world().engine.leaks()).toEqual([]);
  });

  const images: Record<string, LocalImage | undefined> = {
    nats: programImage("nats-server", ["nats-server"]),
    redis: programImage("redis-server", ["redis-server"]),
  };
  const lacking = Object.keys(images).filter((name) => !images[name]);
  if (lacking.length > 0) skipped(`docker-compose.test.yml as a project: no ${lacking.join(", no ")} here`);
  test.skipIf(lacking.length > 0)(
    "docker-compose.test.yml, its images made of this machine's packages",
    async () => {
      const own = path.resolve(import.meta.dir, "../../../docker-compose.test.yml");
      const text = fs.readFileSync(own, "utf8");
      const docker = world().docker();
      await using server = await serveImages({
        images: Object.fromEntries(
          Object.entries(images).flatMap(([name, image]) => (image ? [[`made/${name}:1`, image]] : [])),
        ),
      });
      for (const [name, tag] of [
        ["nats", "nats:2-alpine"],
        ["redis", "redis:7-alpine"],
      ] as const) {
        await docker("pull", `${server.host}/made/${name}:1`);
        await docker("tag", `${server.host}/made/${name}:1`, tag);
      }
      // As those images' scripts have it: nats-server is given what isn't a program, redis-server answers everybody. The word "redis-server"
      // that the file begins with is taken for the process's title.
      const entrypoints = {
        "nats:2-alpine": ["nats-server"],
        "redis:7-alpine": ["redis-server", "--protected-mode", "no", "--proc-title-template"],
      };
      for (const [name, words] of Object.entries(entrypoints)) {
        const plain = await docker("create", name);
        const entrypoint = `ENTRYPOINT ${JSON.stringify(words)}`;
        await docker("commit", "-c", entrypoint, "-c", "CMD []", plain, name);
        await docker("rm", plain);
      }

      // The ports of the file may be somebody else's on this machine.
      const [natsPort, redisPort] = [await freePort(), await freePort()];
      const moved = text
        .replace("127.0.0.1:4222:4222", `127.0.0.1:${natsPort}:4222`)
        .replace("127.0.0.1:6379:6379", `127.0.0.1:${redisPort}:6379`);
      expect(moved).not.toBe(text);
      const file = path.join(dir.path, "test.yml");
      fs.writeFileSync(file, moved);
      await composed(file, "up", "-d");
      const { token } = parseNatsUrl("nats://test@127.0.0.1:4222");
      const client = await eventually(() => connect({ servers: `127.0.0.1:${natsPort}`, token }), {
        timeoutMs: 30_000,
        what: "the answer of nats",
      });
      try {
        const manager = await client.jetstreamManager();
        await manager.streams.add({ name: "S", subjects: ["s.>"] });
        await client.jetstream().publish("s.one", "hello");
        expect((await manager.streams.info("S")).state.messages).toBe(1);
      } finally {
        await client.close();
      }
      const redis = new Redis(`redis://127.0.0.1:${redisPort}/15`, {
        maxRetriesPerRequest: null,
        retryStrategy: () => 50,
      });
      redis.on("error", () => {}); // not up yet
      try {
        await redis.set("key", "kept");
        await composed(file, "restart", "-t", "5", "redis");
        expect(await redis.get("key")).toBe("kept");
      } finally {
        redis.disconnect();
      }
      await composed(file, "down", "-v");
      const made = ["nats", "redis"].map((name) => `${server.host}/made/${name}:1`);
      await docker("rmi", "nats:2-alpine", "redis:7-alpine", ...made);
      expect(await docker("ps", "-aq")).toBe("");
      expect(await world().engine.leaks()).toEqual([]);
    },
  );
});
