import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { eventually, freePort, type TempDir, tempDir } from "@longshore/testkit";
import { binDir, demultiplex, openEngine, type TestEngine } from "./engine-client.ts";

setDefaultTimeout(60_000);
let world: TestEngine;
let metricsPort: number;
let dir: TempDir;
/** With this shim it is the daemon that copies the output. */
const realShim = "/usr/bin/containerd-shim-runc-v2";
const hasRealShim = fs.existsSync(realShim);
beforeAll(async () => {
  dir = tempDir();
  const file = path.join(dir.path, "daemon.json");
  const runtimes = { real: { runtimeType: realShim, options: { BinaryName: path.join(binDir, "runc") } } };
  fs.writeFileSync(file, JSON.stringify(hasRealShim ? { runtimes } : {}));
  metricsPort = await freePort();
  const metrics = ["--metrics-addr", `127.0.0.1:${metricsPort}`];
  world = await openEngine({ components: { dockerd: { extraArgs: ["--config-file", file, ...metrics] } } });
});
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  dir?.[Symbol.dispose]();
});

const withLog = (Type: string, Config: Record<string, string> = {}, more: object = {}) => ({
  ...more,
  HostConfig: { NetworkMode: "none", LogConfig: { Type, Config } },
});
const inspect = async (id: string) => (await world.api.call("GET", `/containers/${id}/json`)).json;
const remove = (id: string) => world.api.call("DELETE", `/containers/${id}?force=1`);
const wait = async (id: string) => (await world.api.call("POST", `/containers/${id}/wait`)).json.StatusCode;

async function logs(id: string, query = "") {
  const target = `http://docker/containers/${id}/logs?stdout=1&stderr=1${query}`;
  const answer = await fetch(target, { unix: world.api.socketPath });
  const bytes = Buffer.from(await answer.arrayBuffer());
  const message = answer.status === 200 ? "" : (JSON.parse(bytes.toString()).message as string);
  return { status: answer.status, message, headers: answer.headers, ...demultiplex(bytes) };
}

/** A syslog server over TCP that keeps what it is sent. */
async function syslogServer() {
  let text = "";
  const clients = new Set<net.Socket>();
  const server = net.createServer((client) => {
    clients.add(client);
    client.on("data", (chunk) => {
      text += chunk.toString();
    });
    client.on("error", () => {});
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  return {
    address: `tcp://127.0.0.1:${port}`,
    lines: () => text.split("\n").filter(Boolean),
    clients,
    [Symbol.dispose]() {
      for (const client of clients) client.destroy();
      server.close();
    },
  };
}

test("local: read, rotated and compressed, and no path to be seen", async () => {
  const { api, image, engine } = world;
  const script =
    "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i + 1)); done; usleep 200000; echo err >&2";
  // (What comes by two pipes at once has no order.)
  const options = { "max-size": "20k", "max-file": "3" };
  const id = await api.run(image, ["sh", "-c", script], withLog("local", options));
  expect(await wait(id)).toBe(0);
  expect((await inspect(id)).LogPath).toBe("");
  const directory = path.join(engine.suite.paths.dockerdRoot, "containers", id);
  const files = () => fs.readdirSync(directory).filter((name) => name.startsWith("local.log"));
  await eventually(() => files().sort().join() === "local.log,local.log.1.gz,local.log.2.gz");
  const { stdout, stderr } = await logs(id);
  expect(stderr).toBe("err\n");
  const numbers = stdout
    .trim()
    .split("\n")
    .map((line) => Number(line.split(" ")[1]));
  expect(numbers.at(-1)).toBe(2999);
  expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] ?? 0) + index));
  expect(numbers.length).toBeLessThan(3000);
  expect((await logs(id, "&tail=2")).stdout).toBe("line 2999\n");
  await remove(id);
  expect(await engine.leaks()).toEqual([]);
});

test("json-file: labels, variables and the tag go with each line, and details shows them", async () => {
  const { api, image } = world;
  const options = { labels: "team", env: "COLOR", tag: "{{.Name}}" };
  const more = { Labels: { team: "a b", other: "x" }, Env: ["COLOR=dark red"] };
  const id = await api.run(image, ["echo", "hello"], withLog("json-file", options, more), "tagged");
  await wait(id);
  expect((await logs(id)).stdout).toBe("hello\n");
  expect((await logs(id, "&details=1")).stdout).toBe("COLOR=dark+red,tag=tagged,team=a+b hello\n");
  expect((await logs(id, "&details=1&timestamps=1")).stdout).toMatch(/^\d{4}-\S+Z COLOR=\S+ hello\n$/);
  await remove(id);
  const plain = await api.run(image, ["echo", "hello"], withLog("json-file"));
  await wait(plain);
  expect((await logs(plain, "&details=1")).stdout).toBe(" hello\n");
  await remove(plain);
});

test("none: nothing is kept, and reading says so", async () => {
  const { api, image } = world;
  const id = await api.run(image, ["echo", "hello"], withLog("none"));
  await wait(id);
  expect(await logs(id)).toMatchObject({
    status: 501,
    message: "configured logging driver does not support reading",
  });
  await remove(id);
});

test("syslog: a server gets each line, docker logs the same, also while no daemon is there", async () => {
  const { api, image, engine } = world;
  using server = await syslogServer();
  const options = { "syslog-address": server.address, "syslog-facility": "local0", tag: "{{.Name}}/{{.ID}}" };
  const script = "i=0; while :; do echo line $i; i=$((i + 1)); sleep 0.05; done";
  const id = await api.run(image, ["sh", "-c", script], withLog("syslog", options), "sends");
  await eventually(() => server.lines().length >= 3);
  expect(server.lines()[0]).toMatch(
    new RegExp(`^<134>\\S+ [ \\d]\\d \\S+ sends/${id.slice(0, 12)}\\[\\d+\\]: line 0$`),
  );
  await engine.suite.kill("dockerd", "SIGKILL");
  const before = server.lines().length;
  await eventually(() => server.lines().length >= before + 3);
  await engine.suite.start("dockerd");
  await api.call("POST", `/containers/${id}/kill`);
  await wait(id);
  await eventually(async () => (await logs(id)).stdout.trim().split("\n").length === server.lines().length);
  const { stdout } = await logs(id);
  expect(
    stdout
      .trim()
      .split("\n")
      .map((_, n) => `line ${n}`),
  ).toEqual(stdout.trim().split("\n"));
  await remove(id);
  expect(await engine.leaks()).toEqual([]);
});

test("syslog: a logger that is killed is started again, and the container goes on", async () => {
  const { api, image, engine } = world;
  using server = await syslogServer();
  const script = "i=0; while :; do echo line $i; i=$((i + 1)); sleep 0.05; done";
  const options = { "syslog-address": server.address };
  const id = await api.run(image, ["sh", "-c", script], withLog("syslog", options));
  await eventually(() => server.lines().length >= 3);
  const loggers = () =>
    fs.readdirSync("/proc").filter((pid) => {
      if (!/^\d+$/.test(pid)) return false;
      const file = `/proc/${pid}/cmdline`;
      return fs.existsSync(file) && fs.readFileSync(file, "utf8").includes(`${id}/log-driver.json`);
    });
  const [first = ""] = loggers();
  process.kill(Number(first), "SIGKILL");
  const before = server.lines().length;
  await eventually(() => server.lines().length >= before + 10);
  expect(loggers()).not.toEqual([first]);
  await api.call("POST", `/containers/${id}/kill`);
  await wait(id);
  const written = (await logs(id)).stdout.trim().split("\n");
  await eventually(
    () =>
      server
        .lines()
        .at(-1)
        ?.endsWith(`: ${written.at(-1)}`) ?? false,
  );
  // Only what was in its pipe is lost.
  expect(server.lines().length).toBeGreaterThanOrEqual(written.length - 20);
  await remove(id);
  expect(await engine.leaks()).toEqual([]);
});

test("syslog: of a terminal; without a copy nothing can be read; a server that isn't there fails the start", async () => {
  const { api, image, engine } = world;
  using server = await syslogServer();
  const options = { "syslog-address": server.address, "cache-disabled": "true" };
  const id = await api.run(image, ["echo", "from a terminal"], { ...withLog("syslog", options), Tty: true });
  expect(await wait(id)).toBe(0);
  await eventually(() => server.lines().some((line) => line.includes(": from a terminal")));
  expect((await logs(id)).status).toBe(501);
  await remove(id);
  server[Symbol.dispose]();

  const lost = await api.create(image, ["true"], withLog("syslog", options));
  const start = await api.call("POST", `/containers/${lost}/start`);
  expect(start.status).toBe(500);
  expect(start.json.message).toBe(
    `failed to create task for container: failed to initialize logging driver: dial ${server.address.replace("://", " ")}: connect: connection refused`,
  );
  expect((await inspect(lost)).State).toMatchObject({ Status: "created", Running: false });
  await remove(lost);
  expect(await engine.leaks()).toEqual([]);
});

test("journald: refused where there is no journal", async () => {
  const { api, image } = world;
  const id = await api.create(image, ["echo", "hello"], withLog("journald"));
  const { status, json } = await api.call("POST", `/containers/${id}/start`);
  if (fs.existsSync("/run/systemd/journal/socket")) expect(status).toBe(204);
  else {
    expect(json.message).toBe(
      "failed to create task for container: failed to initialize logging driver: journald is not enabled on this host",
    );
  }
  await remove(id);
});

test("non-blocking: a server that takes nothing holds up nobody; what is dropped are whole lines, and counted", async () => {
  const { api, image, engine } = world;
  using server = await syslogServer();
  const options = { "syslog-address": server.address, mode: "non-blocking", "max-buffer-size": "64k" };
  const count = 300_000;
  const script = `read go; i=0; while [ $i -lt ${count / 100} ]; do cat /lines; i=$((i + 1)); done`;
  const prepare = `seq 1 100 | sed "s/^/a line that is long enough to fill the buffers of a socket: /" > /lines`;
  const more = { ...withLog("syslog", options), OpenStdin: true, StdinOnce: true };
  const id = await api.create(image, ["sh", "-c", `${prepare}; ${script}`], more);
  const attached = await api.hijack(`/containers/${id}/attach?stream=1&stdin=1`);
  await api.call("POST", `/containers/${id}/start`);
  await eventually(() => server.clients.size === 2); // the daemon's look, and the logger
  for (const client of server.clients) client.pause();
  attached.socket.end("go\n");
  expect(await wait(id)).toBe(0);
  const { headers, stdout } = await logs(id);
  const lines = stdout.trim().split("\n");
  expect(lines).toHaveLength(count);
  expect(lines.at(-1)).toEndWith(": 100");
  const dropped = async () => Number((await logs(id, "&tail=1")).headers.get("longshore-log-dropped"));
  await eventually(async () => (await dropped()) > 1000);
  const counted = async () => {
    const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
    const metric = `^engine_daemon_container_log_lines_dropped_total\\{id="${id}",.*\\} (\\d+)$`;
    return Number(new RegExp(metric, "m").exec(text)?.[1]);
  };
  await eventually(async () => (await counted()) === (await dropped()), { what: "the metric" });
  expect(headers.get("content-type")).toContain("multiplexed-stream");
  for (const client of server.clients) client.resume();
  // The number is written some time after the last line was dropped.
  await eventually(async () => server.lines().length === count - (await dropped()), { timeoutMs: 30_000 });
  for (const line of server.lines()) {
    expect(line).toMatch(/\]: a line that is long enough to fill the buffers of a socket: \d+$/);
  }
  await remove(id);
  expect(await engine.leaks(30_000)).toEqual([]);
});

test("non-blocking: a file too is written by a process of its own", async () => {
  const { api, image, engine } = world;
  const id = await api.run(
    image,
    ["sh", "-c", "seq 1 2000; echo end >&2"],
    withLog("json-file", { mode: "non-blocking" }),
  );
  await wait(id);
  await eventually(async () => (await logs(id)).stdout.endsWith("2000\n"));
  expect((await logs(id)).stdout.trim().split("\n")).toHaveLength(2000);
  expect((await logs(id)).stderr).toBe("end\n");
  await remove(id);
  expect(await engine.leaks()).toEqual([]);
});

test.skipIf(!hasRealShim)(
  "with a foreign shim the daemon hands the output to the logger, also one started anew",
  async () => {
    const { api, image, engine } = world;
    using server = await syslogServer();
    const options = { "syslog-address": server.address };
    const script = "i=0; while :; do echo line $i; i=$((i + 1)); sleep 0.05; done";
    const { HostConfig } = withLog("syslog", options);
    const id = await api.run(image, ["sh", "-c", script], { HostConfig: { ...HostConfig, Runtime: "real" } });
    await eventually(() => server.lines().length >= 3);
    await engine.suite.kill("dockerd", "SIGKILL");
    await engine.suite.start("dockerd");
    const before = server.lines().length;
    await eventually(() => server.lines().length >= before + 3);
    await api.call("POST", `/containers/${id}/kill`);
    await wait(id);
    const { stdout } = await logs(id);
    const numbers = stdout
      .trim()
      .split("\n")
      .map((line) => Number(line.split(" ")[1]));
    expect(numbers.at(-1)).toBeGreaterThanOrEqual(5);
    await eventually(
      () =>
        server
          .lines()
          .at(-1)
          ?.endsWith(`: line ${numbers.at(-1)}`) ?? false,
    );
    await remove(id);
    expect(await engine.leaks()).toEqual([]);
  },
);

test("the drivers are listed, and unknown ones and options refused in Docker's words", async () => {
  const { api, image } = world;
  const { json: info } = await api.call("GET", "/info");
  expect(info.Plugins.Log).toEqual(["journald", "json-file", "local", "syslog"]);
  for (const [driver, options, message] of [
    ["gelf", {}, 'error looking up logging plugin gelf: plugin "gelf" not found'],
    ["local", { labels: "x" }, "unknown log opt 'labels' for local log driver"],
  ] as const) {
    const body = { Image: image, Cmd: ["true"], ...withLog(driver, options) };
    const { status, json } = await api.call("POST", "/containers/create", body);
    expect([status, json.message]).toEqual([400, message]);
  }
});
