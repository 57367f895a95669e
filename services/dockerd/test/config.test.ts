import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { busyboxImage, findStaticBusybox, type ImageServer, serveImages } from "@longshore/suite";
import { eventually, run, type TempDir, tempDir } from "@longshore/testkit";
import { binDir, openEngine, type TestEngine } from "./engine-client.ts";

setDefaultTimeout(60_000);
let dir: TempDir;
let file: string;
let calls: string;
let mirror: ImageServer;
let world: TestEngine;

const write = (config: object) => fs.writeFileSync(file, JSON.stringify(config));
const dockerd = (...args: string[]) => run([path.join(binDir, "dockerd"), ...args]);

beforeAll(async () => {
  dir = tempDir();
  file = path.join(dir.path, "daemon.json");
  calls = path.join(dir.path, "calls");
  const noting = path.join(dir.path, "noting");
  fs.writeFileSync(noting, `#!/bin/sh\necho "$@" >>${calls}\nshift\nexec ${binDir}/runc "$@"\n`, {
    mode: 0o755,
  });
  const busybox = findStaticBusybox();
  if (!busybox) throw new Error("this machine has no static busybox (package busybox-static)");
  mirror = await serveImages({ images: { "test/mirrored:1": busyboxImage(busybox) } });
  write({
    runtimes: { noting: { path: noting, runtimeArgs: ["--noted"] } },
    labels: ["a=1"],
    "log-driver": "json-file",
    "log-opts": { "max-size": "1m" },
  });
  world = await openEngine({ components: { dockerd: { extraArgs: ["--config-file", file] } } });
});
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  await mirror?.[Symbol.asyncDispose]();
  dir?.[Symbol.dispose]();
});

test("--validate says whether the configuration holds, and starts nothing", async () => {
  const other = path.join(dir.path, "other.json");
  fs.writeFileSync(other, '{"debug":true,"data-root":"/nowhere"}');
  expect(await dockerd("--validate", "--config-file", other)).toMatchObject({
    status: 0,
    stderr: "configuration OK\n",
  });
  expect(await dockerd("--validate", "--config-file", other, "--data-root", "/else")).toMatchObject({
    status: 1,
    stderr: `dockerd: unable to configure the Docker daemon with file ${other}: the following directives are specified both as a flag and in the configuration file: data-root: (from flag: /else, from file: /nowhere)\n`,
  });
  expect((await dockerd("--validate", "--config-file", `${other}.not`)).stderr).toBe(
    `dockerd: unable to configure the Docker daemon with file ${other}.not: open ${other}.not: no such file or directory\n`,
  );
  expect(await dockerd("--validate", "--default-runtime", "nosuch", "--config-file", other)).toMatchObject({
    status: 1,
    stderr: "dockerd: specified default runtime 'nosuch' does not exist\n",
  });
  expect(fs.existsSync("/nowhere")).toBe(false);
});

test("what the file says holds: labels, a runtime with arguments, log options", async () => {
  const { api, image } = world;
  const { json: info } = await api.call("GET", "/info");
  expect(info).toMatchObject({ Labels: ["a=1"], DefaultRuntime: "runc", LoggingDriver: "json-file" });
  expect(info.Runtimes.noting.runtimeArgs).toEqual(["--noted"]);
  const id = await api.run(image, ["true"], { HostConfig: { NetworkMode: "none", Runtime: "noting" } });
  expect((await api.call("POST", `/containers/${id}/wait`)).json.StatusCode).toBe(0);
  expect(fs.readFileSync(calls, "utf8")).toMatch(/^--noted .* create .*$/m);
  const { HostConfig } = (await api.call("GET", `/containers/${id}/json`)).json;
  expect(HostConfig.LogConfig).toEqual({ Type: "json-file", Config: { "max-size": "1m" } });
  await api.call("DELETE", `/containers/${id}?force=1`);
});

test("SIGHUP: what Docker reloads is reloaded, a broken file changes nothing", async () => {
  const { api, image, engine } = world;
  const since = Date.now() / 1000;
  const events = async () => {
    const { text } = await api.call("GET", `/events?since=${since}&until=${Date.now() / 1000}`);
    return text.split("\n").filter((line) => line.includes('"Action":"reload"')).length;
  };
  const pid = engine.suite.pid("dockerd") ?? 0;
  const running = await api.run(image, ["sleep", "1000"]);
  write({
    debug: true,
    labels: ["b=2"],
    runtimes: { fresh: { runtimeType: path.join(binDir, "containerd-shim-runc-v2") } },
    "default-runtime": "fresh",
    "insecure-registries": ["r.example:5000"],
    "registry-mirrors": [`http://${mirror.host}`],
    "log-driver": "none",
  });
  process.kill(pid, "SIGHUP");
  await eventually(async () => (await events()) === 1, { what: "the reload event" });
  const { json: info } = await api.call("GET", "/info");
  expect(info).toMatchObject({
    Debug: true,
    Labels: ["b=2"],
    DefaultRuntime: "fresh",
    LoggingDriver: "json-file",
  });
  expect(Object.keys(info.Runtimes)).toEqual(["runc", "fresh"]);
  expect(info.RegistryConfig).toMatchObject({
    Mirrors: [`http://${mirror.host}`],
    IndexConfigs: { "r.example:5000": { Secure: false } },
  });
  expect(engine.suite.output("dockerd")).toMatch(/"settings":\["logDriver"[^}]*only after a restart/);

  const pulled = await api.call("POST", "/images/create?fromImage=test/mirrored&tag=1");
  expect(pulled.text).toContain("Downloaded newer image for test/mirrored:1");
  expect(mirror.requests.length).toBeGreaterThan(0);
  const id = await api.run("test/mirrored:1", ["true"]);
  expect((await api.call("GET", `/containers/${id}/json`)).json.HostConfig.Runtime).toBe("fresh");
  expect((await api.call("POST", `/containers/${id}/wait`)).json.StatusCode).toBe(0);
  const refused = await api.call("POST", "/containers/create", {
    Image: image,
    Cmd: ["true"],
    HostConfig: { Runtime: "noting" },
  });
  expect([refused.status, refused.json.message]).toEqual([400, "unknown or invalid runtime name: noting"]);

  write({ labels: ["c=3"], nope: 1 });
  process.kill(pid, "SIGHUP");
  await eventually(() =>
    /directives don't match any configuration option: nope/.test(engine.suite.output("dockerd")),
  );
  expect((await api.call("GET", "/info")).json.Labels).toEqual(["b=2"]);
  expect(await events()).toBe(1);
  expect((await api.call("GET", `/containers/${running}/json`)).json.State.Running).toBe(true);
  for (const each of [running, id]) await api.call("DELETE", `/containers/${each}?force=1`);
  await api.call("DELETE", "/images/test/mirrored:1");
});
