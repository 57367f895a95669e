import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { eventually, freePort, run, type TempDir, tempDir } from "@longshore/testkit";
import { binDir, openEngine, type TestEngine } from "./engine-client.ts";
import { type NotifySocket, notifySocket } from "./notify-socket.ts";

setDefaultTimeout(90_000);
let dir: TempDir;
let file: string;
let pidfile: string;
let metricsPort: number;
let notified: NotifySocket;
let world: TestEngine;

const write = (config: object) => fs.writeFileSync(file, JSON.stringify(config));

beforeAll(async () => {
  dir = tempDir();
  file = path.join(dir.path, "daemon.json");
  pidfile = path.join(dir.path, "dockerd.pid");
  metricsPort = await freePort();
  notified = notifySocket(dir.path);
  write({
    "default-shm-size": "32M",
    "default-ipc-mode": "shareable",
    "default-cgroupns-mode": "host",
    "default-ulimits": { nofile: { Name: "nofile", Soft: 1234, Hard: 2345 }, core: { Soft: 0, Hard: 0 } },
    "no-new-privileges": true,
    "seccomp-profile": "unconfined",
    "live-restore": false,
    "log-format": "text",
    "metrics-addr": `127.0.0.1:${metricsPort}`,
    "oom-score-adjust": 321,
  });
  world = await openEngine({
    components: {
      dockerd: {
        extraArgs: ["--config-file", file, "--pidfile", pidfile],
        env: { NOTIFY_SOCKET: notified.path },
      },
    },
  });
});
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  notified?.[Symbol.dispose]();
  dir?.[Symbol.dispose]();
});

test("containers get the daemon's defaults for what they leave open, and their own for what they don't", async () => {
  const { api, image } = world;
  const look =
    "ulimit -n; ulimit -Hn; ulimit -c; grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status; df -k /dev/shm | tail -1";
  const output = async (more: object) => {
    const id = await api.create(image, ["sh", "-c", look], more);
    await api.call("POST", `/containers/${id}/start`);
    await api.call("POST", `/containers/${id}/wait`);
    const logs = await run([
      "curl",
      "-s",
      "--unix-socket",
      api.socketPath,
      "--output",
      "-",
      `http://d/containers/${id}/logs?stdout=1`,
    ]);
    const { HostConfig } = (await api.call("GET", `/containers/${id}/json`)).json;
    await api.call("DELETE", `/containers/${id}`);
    return { HostConfig, text: logs.stdout.replaceAll(/[^\x20-\x7e\n]|^./gm, "") };
  };
  const byDefault = await output({});
  expect(byDefault.HostConfig).toMatchObject({
    ShmSize: 32 << 20,
    IpcMode: "shareable",
    CgroupnsMode: "host",
    Ulimits: [
      { Name: "nofile", Soft: 1234, Hard: 2345 },
      { Name: "core", Soft: 0, Hard: 0 },
    ],
  });
  expect(byDefault.text).toMatch(/1234\n.*2345\n.*0\n/);
  expect(byDefault.text).toMatch(/NoNewPrivs:\s*1|NoNewPrivs:1/);
  expect(byDefault.text).toMatch(/Seccomp:\s*0|Seccomp:0/);
  expect(byDefault.text).toContain(" 32768 ");

  const own = await output({
    HostConfig: {
      NetworkMode: "none",
      ShmSize: 1 << 20,
      IpcMode: "private",
      CgroupnsMode: "private",
      Ulimits: [{ Name: "nofile", Soft: 77, Hard: 88 }],
      SecurityOpt: ["no-new-privileges=false", "seccomp=builtin"],
    },
  });
  expect(own.HostConfig).toMatchObject({ ShmSize: 1 << 20, IpcMode: "private", CgroupnsMode: "private" });
  expect(own.HostConfig.Ulimits).toEqual([
    { Name: "nofile", Soft: 77, Hard: 88 },
    { Name: "core", Soft: 0, Hard: 0 },
  ]);
  expect(own.text).toMatch(/77\n.*88\n.*0\n/);
  expect(own.text).toMatch(/NoNewPrivs:\s*0|NoNewPrivs:0/);
  expect(own.text).toMatch(/Seccomp:\s*2|Seccomp:2/);
  expect((await api.call("GET", "/info")).json).toMatchObject({
    LiveRestoreEnabled: false,
    // Docker names cgroup namespaces where they are the default.
    SecurityOptions: ["name=seccomp,profile=unconfined", "name=no-new-privileges"],
  });
});

test("the daemon itself: pid file, oom_score_adj, log as text, and its supervisor is told", async () => {
  const { engine } = world;
  const pid = engine.suite.pid("dockerd");
  expect(fs.readFileSync(pidfile, "utf8")).toBe(`${pid}\n`);
  expect(fs.readFileSync(`/proc/${pid}/oom_score_adj`, "utf8")).toBe("321\n");
  expect(engine.suite.output("dockerd")).toMatch(/^time="[^"]+" level=info msg="serving" hosts=/m);
  expect(notified.told()).toBe("READY=1");
});

test("a second daemon on one data root, or with one pid file, says which process has it and changes nothing", async () => {
  const { engine } = world;
  const pid = engine.suite.pid("dockerd");
  const { dockerdRoot, containerdSocket } = engine.suite.paths;
  const other = path.join(dir.path, "other");
  const start = (...args: string[]) =>
    run([
      path.join(binDir, "dockerd"),
      "-H",
      `unix://${other}/x.sock`,
      "--exec-root",
      `${other}/run`,
      ...args,
    ]);
  const containerd = ["--containerd", containerdSocket];
  expect(await start("--data-root", dockerdRoot, ...containerd)).toMatchObject({
    status: 1,
    stderr: `dockerd: ${dockerdRoot} is in use by another dockerd (pid ${pid})\n`,
  });
  expect(await start("--data-root", `${other}/data`, "--pidfile", pidfile, ...containerd)).toMatchObject({
    status: 1,
    stderr: `dockerd: failed to start daemon, ensure docker is not running or delete ${pidfile}: process with PID ${pid} is still running\n`,
  });
  expect(fs.readFileSync(pidfile, "utf8")).toBe(`${pid}\n`);
  expect(fs.existsSync(`${other}/x.sock`)).toBe(false);
});

test("metrics: what Docker's daemon has, under its names, by what happened here", async () => {
  const { api, image } = world;
  const metric = async (name: string) => {
    const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
    const line = text.split("\n").find((each) => each.startsWith(`${name} `));
    return line === undefined ? undefined : Number(line.slice(name.length + 1));
  };
  const started = (await metric('engine_daemon_container_actions_seconds_count{action="start"}')) ?? -1;
  const id = await api.run(image, ["sleep", "1000"], {
    Healthcheck: { Test: ["CMD", "false"], Interval: 100_000_000, Retries: 1000 },
  });
  expect(await metric('engine_daemon_container_states_containers{state="running"}')).toBe(1);
  expect(await metric('engine_daemon_container_actions_seconds_count{action="start"}')).toBe(started + 1);
  // What a restart policy starts counts as well.
  const failing = await api.run(image, ["false"], {
    HostConfig: { NetworkMode: "none", RestartPolicy: { Name: "on-failure", MaximumRetryCount: 2 } },
  });
  const starts = () => metric('engine_daemon_container_actions_seconds_count{action="start"}');
  await eventually(async () => (await starts()) === started + 4, { timeoutMs: 20_000 });
  await api.call("DELETE", `/containers/${failing}?force=1`);
  const network = (action: string) =>
    metric(`engine_daemon_network_actions_seconds_count{action="${action}"}`);
  expect(await network("allocate")).toBeGreaterThan(3);
  await eventually(async () => ((await network("release")) ?? 0) > 2, { timeoutMs: 20_000 });
  await eventually(async () => ((await metric("engine_daemon_health_checks_failed_total")) ?? 0) > 0);
  expect(await metric("engine_daemon_health_checks_total")).toBeGreaterThan(0);
  await api.call("POST", `/containers/${id}/pause`);
  expect(await metric('engine_daemon_container_states_containers{state="paused"}')).toBe(1);
  expect(await metric("engine_daemon_events_total")).toBeGreaterThan(2);
  expect(await metric("engine_daemon_engine_memory_bytes")).toBeGreaterThan(1e6);
  const removed = await api.call("DELETE", `/containers/${id}?force=1`);
  expect([removed.status, removed.text]).toEqual([204, ""]);
  const all = async () => (await api.call("GET", "/containers/json?all=1")).json.length;
  const stopped = () => metric('engine_daemon_container_states_containers{state="stopped"}');
  await eventually(async () => (await stopped()) === (await all()), { timeoutMs: 20_000 });
  expect(await metric('engine_daemon_container_states_containers{state="paused"}')).toBe(0);
  const response = await fetch(`http://127.0.0.1:${metricsPort}/metrics`);
  expect(response.headers.get("content-type")).toStartWith("text/plain; version=0.0.4");
  const names = (await response.text()).match(/^# TYPE \S+/gm)?.map((line) => line.slice("# TYPE ".length));
  for (const name of [
    "engine_daemon_container_actions_seconds",
    "engine_daemon_container_states_containers",
    "engine_daemon_engine_cpus_cpus",
    "engine_daemon_engine_info",
    "engine_daemon_events_subscribers_total",
    "engine_daemon_host_info_functions_seconds",
    "engine_daemon_network_actions_seconds",
    "process_start_time_seconds",
  ])
    expect(names).toContain(name);
  expect((await fetch(`http://127.0.0.1:${metricsPort}/else`)).status).toBe(404);
});

test("a daemon that stood still says for how long and during what, in its log and its metrics", async () => {
  const { api, image, engine } = world;
  const count = async () => {
    const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
    const [, value] = /event_loop_stalls_seconds_count\{cause="waiting"\} (\d+)/.exec(text) ?? [];
    return Number(value);
  };
  const before = await count();
  const id = await api.run(image, ["sleep", "1000"]);
  const attached = await api.hijack(`/containers/${id}/attach?stream=1&stdout=1`);
  const pid = engine.suite.pid("dockerd") ?? 0;
  process.kill(pid, "SIGSTOP");
  await Bun.sleep(1500);
  process.kill(pid, "SIGCONT");
  await eventually(async () => (await count()) > before, { what: "the stall is counted" });
  const log = fs.readFileSync(path.join(engine.suite.paths.logs, "dockerd.log"), "utf8");
  const [, message = ""] = log.split("the event loop stood still").slice(-2);
  expect(message).toContain(`POST /containers/${id}/attach`);
  await api.call("DELETE", `/containers/${id}?force=1`);
  await attached.ended;
});

test("without live-restore containers end with the daemon, each in its time; the next daemon starts those of a policy", async () => {
  const { api, image, engine } = world;
  const obey = ["sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done"];
  const plain = await api.run(image, obey);
  const again = await api.run(image, obey, {
    HostConfig: { NetworkMode: "none", RestartPolicy: { Name: "unless-stopped" } },
  });
  const stubborn = await api.run(image, ["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"], {
    StopTimeout: 1,
  });
  await engine.suite.restart("dockerd");
  const state = async (id: string) => (await api.call("GET", `/containers/${id}/json`)).json.State;
  expect(await state(plain)).toMatchObject({ Status: "exited", ExitCode: 3 });
  expect(await state(stubborn)).toMatchObject({ Status: "exited", ExitCode: 137 });
  await eventually(async () => (await state(again)).Status === "running");
  expect(notified.told()).toBe("STOPPING=1");
  expect(notified.told()).toBe("READY=1");

  // SIGHUP: from now on they run on.
  write({ "live-restore": true, "shutdown-timeout": 7, "default-shm-size": "16M" });
  const since = Date.now() / 1000;
  process.kill(engine.suite.pid("dockerd") ?? 0, "SIGHUP");
  const reloaded = await eventually(async () => {
    const { text } = await api.call("GET", `/events?since=${since}&until=${Date.now() / 1000 + 0.001}`);
    return text.split("\n").find((line) => line.includes('"Action":"reload"'));
  });
  expect(JSON.parse(reloaded).Actor.Attributes).toMatchObject({
    "live-restore": "true",
    "shutdown-timeout": "7",
    "default-shm-size": String(16 << 20),
    "authorization-plugins": "[]",
  });
  expect((await api.call("GET", "/info")).json.LiveRestoreEnabled).toBe(true);
  const small = await api.create(image, ["true"]);
  expect((await api.call("GET", `/containers/${small}/json`)).json.HostConfig.ShmSize).toBe(16 << 20);
  const { Pid } = await state(again);
  const profile = path.join(dir.path, "seccomp.json");
  const denied = { names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 1 };
  fs.writeFileSync(profile, JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", syscalls: [denied] }));
  write({ "live-restore": true, "seccomp-profile": profile, "raw-logs": true });
  await engine.suite.restart("dockerd");
  expect((await api.call("GET", "/info")).json.SecurityOptions).toContain(`name=seccomp,profile=${profile}`);
  const filtered = await api.run(image, ["sh", "-c", "mkdir /x || exit 9"]);
  expect((await api.call("POST", `/containers/${filtered}/wait`)).json.StatusCode).toBe(9);
  await api.call("DELETE", `/containers/${filtered}?force=1`);
  const lines = engine.suite.output("dockerd").trim().split("\n");
  expect(lines.findLast((line) => line.includes("serving"))).toMatch(
    /^time="[^"]+" level=info msg="serving"/,
  );
  expect(await state(again)).toMatchObject({ Status: "running", Pid });
  for (const id of [plain, again, stubborn, small]) await api.call("DELETE", `/containers/${id}?force=1`);
});
