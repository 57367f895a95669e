import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import fs from "node:fs";
import http from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { busyboxImage, findStaticBusybox, type ImageServer, makeImage, serveImages } from "@longshore/suite";
import { eventually, run, type TempDir, tempDir } from "@longshore/testkit";
import { binDir, openEngine, type TestEngine } from "./engine-client.ts";

setDefaultTimeout(60_000);
let dir: TempDir;
let file: string;
let calls: string;
let mirror: ImageServer;
/** An image of several layers, and the proxy that leads to it. */
let many: ImageServer;
let proxy: http.Server;
let proxied: { proxies: Record<"http-proxy" | "https-proxy" | "no-proxy", string> };
let serveProxied: (request: http.IncomingMessage, response: http.ServerResponse) => void;
let world: TestEngine;

const write = (config: object) => fs.writeFileSync(file, JSON.stringify(config));
const dockerd = (...args: string[]) => run([path.join(binDir, "dockerd"), ...args]);

const MTU = "com.docker.network.driver.mtu";
const OF_NETWORKS = {
  "default-network-opts": { bridge: { [MTU]: "1400", "com.docker.network.enable_ipv6": "true" } },
  "min-api-version": "1.30",
};

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
  const layers = ["a", "b", "c", "d"].map((name) => {
    const layer = path.join(dir.path, `layer-${name}`);
    fs.mkdirSync(layer);
    fs.writeFileSync(path.join(layer, name), name);
    return layer;
  });
  const image = makeImage({ layers, cmd: ["/a"] });
  many = await serveImages({ images: { "test/many:1": image, "test/broken:1": image } });
  proxy = http.createServer((request, response) => serveProxied(request, response));
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const address = `http://user:secret@127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  proxied = { proxies: { "http-proxy": address, "https-proxy": address, "no-proxy": "elsewhere.example" } };
  write({
    ...proxied,
    runtimes: { noting: { path: noting, runtimeArgs: ["--noted"] } },
    labels: ["a=1"],
    "log-driver": "json-file",
    "log-opts": { "max-size": "1m" },
    ...OF_NETWORKS,
  });
  world = await openEngine({ components: { dockerd: { extraArgs: ["--config-file", file] } } });
});
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  await mirror?.[Symbol.asyncDispose]();
  await many?.[Symbol.asyncDispose]();
  proxy?.closeAllConnections();
  proxy?.close();
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

test("networks have the options of their driver that the file says, unless they say otherwise; older versions are refused", async () => {
  const { api } = world;
  const optionsOf = async (body: object) => {
    const made = await api.call("POST", "/networks/create", { Name: "with-options", ...body });
    expect(made.status).toBe(201);
    const { Options, EnableIPv6 } = (await api.call("GET", "/networks/with-options")).json;
    await api.call("DELETE", "/networks/with-options");
    return { Options, EnableIPv6 };
  };
  const ipv6 = "com.docker.network.enable_ipv6";
  expect(await optionsOf({})).toEqual({ Options: { [MTU]: "1400", [ipv6]: "true" }, EnableIPv6: true });
  const own = { Options: { [MTU]: "1300" }, EnableIPv6: false };
  expect(await optionsOf(own)).toEqual(own);
  expect(await optionsOf({ Driver: "macvlan" })).toEqual({ Options: {}, EnableIPv6: false });
  expect((await api.call("GET", "/version")).json.MinAPIVersion).toBe("1.30");
  const refused = await api.call("GET", "/v1.29/info");
  expect([refused.status, refused.json.message]).toEqual([
    400,
    "client version 1.29 is too old. Minimum supported API version is 1.30, please upgrade your client to a newer version",
  ]);
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
    ...OF_NETWORKS,
    ...proxied,
    debug: true,
    labels: ["b=2"],
    runtimes: { fresh: { runtimeType: path.join(binDir, "containerd-shim-runc-v2") } },
    "default-runtime": "fresh",
    "insecure-registries": ["r.example:5000"],
    "registry-mirrors": [`http://${mirror.host}`],
    "log-driver": "none",
    "live-restore": false,
    "shutdown-timeout": 7,
    "default-stop-timeout": 3,
    "default-shm-size": "1m",
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
  expect(Object.keys(info.Runtimes)).toEqual(["runc", "io.containerd.runc.v2", "fresh"]);
  expect(info.RegistryConfig).toMatchObject({
    Mirrors: [`http://${mirror.host}`],
    IndexConfigs: { "r.example:5000": { Secure: false } },
  });
  expect(info.LiveRestoreEnabled).toBe(false);
  const { text: told } = await api.call("GET", `/events?since=${since}&until=${Date.now() / 1000}`);
  expect(told).toMatch(/"default-shm-size":"1048576","default-stop-timeout":"3"/);
  expect(told).toMatch(/"live-restore":"false".*"shutdown-timeout":"7"/);
  const small = await api.run(image, ["sh", "-c", "df -k /dev/shm | tail -1; exec sleep 1000"]);
  await eventually(async () =>
    / 1024 /.test((await api.call("GET", `/containers/${small}/logs?stdout=1`)).text),
  );
  const begun = performance.now();
  await api.call("POST", `/containers/${small}/stop`);
  expect(performance.now() - begun).toBeWithin(2900, 8000);
  await api.call("DELETE", `/containers/${small}`);
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

describe("transfers", () => {
  /** What the proxy has seen: requests for blobs, and how many of them at a time. */
  const seen = { blobs: 0, inFlight: 0, most: 0 };
  /** How many of them are waited for. */
  let expected = 1;
  const insecure = { "insecure-registries": ["registry.invalid:5000", "10.9.0.0/16"] };
  const reload = async (config: object) => {
    const events = world.engine.suite.output("dockerd").split("reloaded configuration").length;
    write({ ...proxied, ...insecure, ...config });
    process.kill(world.engine.suite.pid("dockerd") ?? 0, "SIGHUP");
    await eventually(
      () => world.engine.suite.output("dockerd").split("reloaded configuration").length > events,
    );
    Object.assign(seen, { blobs: 0, inFlight: 0, most: 0 });
  };

  /** A registry behind a proxy: it lets blobs wait for each other, has no use for what is sent, and breaks off `broken`. */
  async function serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? "");
    const isBlob = pathname.includes("/blobs/") && request.method !== "HEAD" && request.method !== "POST";
    if (isBlob) {
      seen.blobs++;
      seen.most = Math.max(seen.most, ++seen.inFlight);
      const deadline = Date.now() + 20_000;
      // Long enough for one too many to come.
      do await Bun.sleep(50);
      while (seen.most < expected && Date.now() < deadline);
      seen.inFlight--;
    }
    if (pathname.startsWith("/v2/sink/")) {
      await new Response(request as unknown as ReadableStream).arrayBuffer();
      if (request.method === "HEAD") response.writeHead(404).end();
      else if (request.method === "POST") response.writeHead(202, { location: `${pathname}1` }).end();
      else if (request.method === "PATCH")
        response
          .writeHead(202, { location: pathname, range: `0-${request.headers["content-length"]}` })
          .end();
      else response.writeHead(201).end();
      return;
    }
    if (isBlob && pathname.startsWith("/v2/test/broken/")) {
      response.writeHead(503).end();
      return;
    }
    const { status, headers, body } = await fetch(`http://${many.host}${pathname}`, {
      method: request.method ?? "GET",
    });
    response.writeHead(status, Object.fromEntries(headers));
    response.end(Buffer.from(await new Response(body).arrayBuffer()));
  }
  serveProxied = (request, response) => void serve(request, response);

  const pull = (name: string) =>
    world.api.call("POST", `/images/create?fromImage=registry.invalid:5000/${name}&tag=1`);
  const drop = () => world.api.call("DELETE", "/images/registry.invalid:5000/test/many:1?force=1");

  test("a registry is reached through the proxy, whose password nobody is shown", async () => {
    await reload({});
    expected = 3;
    const { json: info } = await world.api.call("GET", "/info");
    expect(info.HttpProxy).toBe(proxied.proxies["http-proxy"].replace("user:secret", "xxxxx:xxxxx"));
    expect(info.NoProxy).toBe("elsewhere.example");
    expect(info.RegistryConfig.InsecureRegistryCIDRs).toEqual(["10.9.0.0/16", "::1/128", "127.0.0.0/8"]);
    expect(Object.keys(info.RegistryConfig.IndexConfigs)).toEqual(["docker.io", "registry.invalid:5000"]);
    expect((await pull("test/many")).text).toContain("Downloaded newer image");
    expect(seen.blobs).toBe(5);
    expect(seen.most).toBe(3);
    expected = 1;
    await drop();
  });

  test("no more downloads, attempts and uploads than the configuration says", async () => {
    await reload({ "max-concurrent-downloads": 1, "max-download-attempts": 1, "max-concurrent-uploads": 1 });
    expect((await pull("test/many")).text).toContain("Downloaded newer image");
    expect(seen).toEqual({ blobs: 5, inFlight: 0, most: 1 });
    await world.api.call(
      "POST",
      "/images/registry.invalid:5000/test/many:1/tag?repo=registry.invalid:5000/sink&tag=1",
    );
    Object.assign(seen, { blobs: 0, most: 0 });
    const pushed = await fetch("http://docker/images/registry.invalid:5000/sink/push?tag=1", {
      unix: world.api.socketPath,
      method: "POST",
      headers: { "X-Registry-Auth": "e30" },
    });
    expect(await pushed.text()).toContain("1: digest: sha256:");
    expect(seen.blobs).toBeGreaterThanOrEqual(5);
    expect(seen.most).toBe(1);
    await world.api.call("DELETE", "/images/registry.invalid:5000/sink:1");
    await drop();
    Object.assign(seen, { blobs: 0, most: 0 });
    const broken = await pull("test/broken");
    expect(broken.text).toContain("error");
    expect(seen.blobs).toBe(1);
    await reload({ "max-concurrent-downloads": 0 });
    expected = 5;
    expect((await pull("test/many")).text).toContain("Downloaded newer image");
    expect(seen.most).toBe(5);
    await drop();
  });
});
