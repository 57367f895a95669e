import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import net from "node:net";
import { eventually } from "@longshore/testkit";
import { openEngine, type TestEngine } from "./engine-client.ts";

/** What the versions of the API from 1.45 on have changed of networks, events and the engine itself. */

setDefaultTimeout(60_000);
let world: TestEngine;
beforeAll(async () => {
  world = await openEngine();
});
afterAll(() => world[Symbol.asyncDispose]());

const get = async (path: string) => (await world.api.call("GET", path)).json;

test("info: each field from the version on that brought it, and until the one that took it away", async () => {
  const fields: [name: string, since: string, before: string][] = [
    ["Containerd", "1.46", "1.99"],
    ["FirewallBackend", "1.49", "1.99"],
    ["BridgeNfIptables", "1.24", "1.50"],
    ["BridgeNfIp6tables", "1.24", "1.50"],
    // Nothing of the kind is there.
    ["NRI", "1.99", "1.99"],
    ["DiscoveredDevices", "1.99", "1.99"],
  ];
  const number = (version: string) => Number(version.split(".")[1]);
  for (const version of ["1.24", "1.43", "1.44", "1.45", "1.46", "1.48", "1.49", "1.50", "1.53", "1.55"]) {
    const info = await get(`/v${version}/info`);
    for (const [name, since, before] of fields) {
      const isThere = number(version) >= number(since) && number(version) < number(before);
      expect([version, name, Object.hasOwn(info, name)]).toEqual([version, name, isThere]);
    }
    const at = (since: string) => number(version) >= number(since);
    expect([version, "Expected" in info.RuncCommit]).toEqual([version, !at("1.49")]);
    const ofRegistry = "AllowNondistributableArtifactsCIDRs" in info.RegistryConfig;
    expect([version, ofRegistry]).toEqual([version, !at("1.47")]);
    expect([version, "status" in info.Runtimes.runc]).toEqual([version, at("1.44")]);
  }
});

test("info and version: what the programs are that containers run by", async () => {
  const { engine } = world;
  const info = await get("/info");
  expect(info.FirewallBackend.Driver).toMatch(/^nftables(\+firewalld)?$/);
  expect(info.Containerd).toEqual({
    Address: engine.suite.paths.containerdSocket,
    Namespaces: { Containers: "moby", Plugins: "plugins.moby" },
  });
  const features = JSON.parse(info.Runtimes.runc.status["org.opencontainers.runtime-spec.features"]);
  expect(features.hooks).toContain("createRuntime");
  const { Components, MinAPIVersion } = await get("/version");
  expect(MinAPIVersion).toBe("1.24");
  const runc = Components.find(({ Name }: { Name: string }) => Name === "runc");
  expect(runc.Version).not.toBe("");
  expect(info.RuncCommit).toEqual({ ID: runc.Details.GitCommit });
  expect(info.InitBinary).toBe("docker-init");
});

test("df: usage by kind from 1.52 on, and the lists until details are asked for; only of the types that are named", async () => {
  const { api, image } = world;
  const id = await api.create(image, ["true"], { Volumes: { "/v": {} } });
  const lists = ["BuildCache", "Containers", "Images", "LayersSize", "Volumes"];
  const usages = ["BuildCacheUsage", "ContainerUsage", "ImageUsage", "VolumeUsage"];
  const keys = async (path: string) => Object.keys(await get(path)).sort();
  expect(await keys("/v1.43/system/df")).toEqual(["BuilderSize", ...lists].sort());
  expect(await keys("/v1.51/system/df?verbose=1")).toEqual(lists);
  expect(await keys("/v1.52/system/df")).toEqual([...lists, ...usages].sort());
  expect(await keys("/v1.55/system/df?verbose=1")).toEqual(usages);
  expect(await keys("/v1.55/system/df?type=volume&type=build-cache")).toEqual(
    ["BuildCache", "BuildCacheUsage", "VolumeUsage", "Volumes"].sort(),
  );
  expect(await keys("/v1.44/system/df?type=volume")).toEqual(["Volumes"]);
  const refused = await api.call("GET", "/v1.55/system/df?type=x");
  expect([refused.status, refused.json.message]).toEqual([400, "unknown object type: x"]);

  const { ImageUsage, ContainerUsage, VolumeUsage, BuildCacheUsage } = await get("/system/df?verbose=1");
  const { LayersSize, Images } = await get("/v1.51/system/df");
  expect(ImageUsage).toMatchObject({ ActiveCount: 1, TotalCount: 1, TotalSize: LayersSize });
  expect(ImageUsage.Items[0]).toMatchObject({ Id: Images[0].Id, Containers: 1 });
  // What is zero is left out: nothing of the image can go, and the container doesn't run.
  expect(ImageUsage.Reclaimable).toBeUndefined();
  expect(ContainerUsage).toMatchObject({ TotalCount: 1, Items: [{ Id: id }] });
  expect(ContainerUsage.ActiveCount).toBeUndefined();
  expect(ContainerUsage.Reclaimable).toBe(ContainerUsage.Items[0].SizeRw);
  expect(ContainerUsage.Reclaimable).toBe(ContainerUsage.TotalSize);
  expect(VolumeUsage).toMatchObject({ ActiveCount: 1, TotalCount: 1 });
  expect(BuildCacheUsage).toEqual({});

  await api.call("DELETE", `/containers/${id}?v=0`);
  const without = await get("/system/df?verbose=1");
  const [unused] = without.ImageUsage.Items;
  expect(without.ImageUsage).toMatchObject({ TotalCount: 1, Reclaimable: unused.Size - unused.SharedSize });
  expect(without.ImageUsage.ActiveCount).toBeUndefined();
  expect(without.ContainerUsage).toEqual({});
  for (const { Name } of (await get("/volumes")).Volumes) await api.call("DELETE", `/volumes/${Name}`);
  expect((await get("/system/df")).VolumeUsage).toEqual({});
});

test("events: the form that is asked for, and old fields for clients of before", async () => {
  const { api } = world;
  const since = Math.floor(Date.now() / 1000);
  await api.call("POST", "/volumes/create", { Name: "told" });
  const id = await api.create(world.image, ["true"]);
  await api.call("DELETE", `/containers/${id}`);
  await api.call("DELETE", "/volumes/told");
  const ask = async (version: string, accept?: string) => {
    const response = await fetch(`http://docker/v${version}/events?since=${since}&until=${since + 2}`, {
      unix: api.socketPath,
      headers: accept === undefined ? {} : { Accept: accept },
    });
    return { type: response.headers.get("content-type"), text: await response.text() };
  };
  const old = await ask("1.51");
  expect(old.type).toBe("application/json");
  const lines = old.text.trim().split("\n");
  const events = lines.map((line) => JSON.parse(line));
  const created = events.find(({ Action, Actor }) => Action === "create" && Actor.ID === id);
  expect(created).toMatchObject({ status: "create", id, from: world.image });
  const recent = await ask("1.52");
  expect(recent.type).toBe("application/jsonl");
  const names = ["Type", "Action", "Actor", "scope", "time", "timeNano"];
  for (const line of recent.text.trim().split("\n")) expect(Object.keys(JSON.parse(line))).toEqual(names);
  expect((await ask("1.55", "application/x-ndjson")).type).toBe("application/x-ndjson");
  expect((await ask("1.55", "application/json, */*")).type).toBe("application/jsonl");
  const wrong = await api.call("GET", "/events?until=never");
  expect([wrong.status, wrong.json.message]).toEqual([
    400,
    `invalid value for 'until': invalid time: "never"`,
  ]);
  const sequence = await ask("1.55", "application/json-seq, application/x-ndjson;q=0.5");
  expect(sequence.type).toBe("application/json-seq");
  expect(sequence.text).toBe(recent.text.replace(/^(?=.)/gm, "\x1e"));
});

test("networks: lists without members, how many addresses are in use, IPv6 alone from the version on that has it", async () => {
  const { api } = world;
  const IPAM = {
    Config: [
      {
        ...{ Subnet: "10.251.4.0/24", IPRange: "10.251.4.64/31", Gateway: "10.251.4.1" },
        AuxiliaryAddresses: { within: "10.251.4.65", outside: "10.251.4.128" },
      },
      { Subnet: "fd00:104::/64" },
    ],
  };
  const made = await api.call("POST", "/networks/create", { Name: "counted", EnableIPv6: true, IPAM });
  expect(made.status).toBe(201);
  const listed = (version: string) => get(`/v${version}/networks?filters={"name":["counted"]}`);
  expect((await listed("1.27"))[0].Containers).toEqual({});
  expect((await listed("1.28"))[0]).not.toContainKeys(["Containers"]);
  expect(await get("/v1.51/networks/counted")).not.toContainKeys(["Status"]);
  // More than a number of JavaScript's holds, as text.
  const status = async () =>
    /"Status":(\{.*\})\}\n$/.exec((await api.call("GET", "/v1.52/networks/counted")).text)?.[1];
  const counts = (inUse: number, available: number, inUse6: number) =>
    `{"IPAM":{"Subnets":{"10.251.4.0/24":{"IPsInUse":${inUse},"DynamicIPsAvailable":${available}},` +
    `"fd00:104::/64":{"IPsInUse":${inUse6},"DynamicIPsAvailable":${2n ** 64n - BigInt(inUse6)}}}}}`;
  expect(await status()).toBe(counts(5, 1, 2));
  const HostConfig = { NetworkMode: "counted" };
  const id = await api.run(world.image, ["sleep", "100"], { HostConfig });
  expect(await status()).toBe(counts(6, 0, 3));
  await api.call("DELETE", `/containers/${id}?force=1`);
  expect(await status()).toBe(counts(5, 1, 2));
  expect((await get("/networks/host")).Status).toEqual({ IPAM: {} });
  await api.call("DELETE", "/networks/counted");

  const create = (version: string, body: object) => api.call("POST", `/v${version}/networks/create`, body);
  const six = { Name: "six", EnableIPv4: false, IPAM: { Config: [{ Subnet: "fd00:105::/64" }] } };
  expect((await create("1.55", { Name: "none-of-both", EnableIPv4: false })).json.message).toBe(
    "IPv4 or IPv6 must be enabled",
  );
  for (const [version, body, enabled] of [
    ["1.55", { ...six, EnableIPv6: true }, false],
    ["1.47", { ...six, EnableIPv6: true }, true],
    ["1.55", { ...six, EnableIPv6: true, Driver: "macvlan", Options: {} }, false],
    [
      "1.55",
      {
        ...{ ...six, EnableIPv4: null },
        Options: { "com.docker.network.enable_ipv4": "0", "com.docker.network.enable_ipv6": "T" },
      },
      false,
    ],
  ] as const) {
    expect((await create(version, body)).text).toContain("Id");
    const network = await get("/networks/six");
    expect([network.EnableIPv4, network.EnableIPv6]).toEqual([enabled, true]);
    await api.call("DELETE", "/networks/six");
  }
  for (const [Name, status, message] of [
    ["", 400, "invalid name: name is empty"],
    ["bridge", 403, "operation is not permitted on predefined bridge network "],
  ] as const) {
    const { status: got, json } = await create("1.55", { Name });
    expect([got, json.message]).toEqual([status, message]);
  }
  const wrong = { Name: "six", Options: { "com.docker.network.enable_ipv6": "yes" } };
  expect((await create("1.55", wrong)).json.message).toBe(
    'driver-opt "com.docker.network.enable_ipv6" is not a valid bool',
  );
});

test("connect: a MAC address is heeded from 1.54 on", async () => {
  const { api, image } = world;
  await api.call("POST", "/networks/create", { Name: "connected" });
  const mac = "02:42:ac:99:99:99";
  const id = await api.run(image, ["sleep", "100"]);
  await api.call("POST", "/networks/none/disconnect", { Container: id });
  for (const [version, isHeeded] of [
    ["1.53", false],
    ["1.54", true],
  ] as const) {
    const body = { Container: id, EndpointConfig: { MacAddress: mac } };
    expect((await api.call("POST", `/v${version}/networks/connected/connect`, body)).status).toBe(200);
    const { MacAddress } = (await get(`/containers/${id}/json`)).NetworkSettings.Networks.connected;
    expect([version, MacAddress === mac]).toEqual([version, isHeeded]);
    await api.call("POST", "/networks/connected/disconnect", { Container: id });
  }
  await api.call("DELETE", `/containers/${id}?force=1`);
  await api.call("DELETE", "/networks/connected");
});

/** The answer to a request that asks for another protocol, as far as it goes until the connection ends. */
async function upgrade(target: string, protocol: string): Promise<string> {
  const socket = net.connect(world.api.socketPath);
  let answer = "";
  socket.on("data", (chunk) => {
    answer += chunk;
  });
  const settings = "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n";
  socket.write(
    `POST ${target} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: ${protocol}\r\n${settings}Content-Length: 0\r\n\r\n`,
  );
  await eventually(() => socket.closed, { what: "the end of the connection", timeoutMs: 10_000 });
  return answer;
}

test("connections of a builder are refused by name, also those that are asked for rightly", async () => {
  const message = (answer: string) => JSON.parse(answer.split("\r\n\r\n")[1] ?? "").message;
  for (const [target, status] of [
    ["/v1.55/grpc", 500],
    ["/v1.55/session", 400],
  ] as const) {
    const right = await upgrade(target, "h2c");
    expect(right).toStartWith("HTTP/1.1 501 ");
    expect(message(right)).toBe("building images is not supported");
    const other = await upgrade(target, "foo");
    expect(other).toStartWith(`HTTP/1.1 ${status} `);
    expect(message(other)).toBe("protocol foo not supported");
    const { json } = await world.api.call("POST", target);
    expect(json.message).toBe("no upgrade proto in request");
  }
});

test("ping by HEAD has no body; what a debugger asks for is told, but no profiles of Go's", async () => {
  const { api } = world;
  const head = await api.call("HEAD", "/_ping");
  expect([head.status, head.headers.get("content-length"), head.headers.get("swarm")]).toEqual([
    ...[200, "0", "inactive"],
  ]);
  const id = await api.create(world.image, ["true"]);
  const vars = await get("/v1.48/debug/vars");
  expect(vars.containers).toBe(1);
  expect(vars.memory.rss).toBeGreaterThan(1 << 20);
  expect(vars.cmdline.join(" ")).toContain("--data-root");
  // The words that it was started with, without any of the engine's.
  expect(vars.cmdline.slice(0, 2)).toEqual([expect.stringMatching(/dockerd$/), expect.stringMatching(/^-/)]);
  await api.call("DELETE", `/containers/${id}`);
  for (const path of ["/debug/pprof/", "/debug/pprof/heap", "/v1.48/debug/pprof/profile"]) {
    const { status, json } = await api.call("GET", path);
    expect([status, json.message]).toEqual([501, "profiles of pprof are not supported"]);
  }
});
