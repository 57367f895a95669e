import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { eventually } from "@longshore/testkit";
import { openEngine, type TestEngine } from "./engine-client.ts";

setDefaultTimeout(60_000);
let world: TestEngine;
beforeAll(async () => {
  world = await openEngine();
});
afterAll(() => world[Symbol.asyncDispose]());

const call = (method: string, target: string, body?: unknown) => world.api.call(method, target, body);
const remove = (id: string) => call("DELETE", `/containers/${id}?force=1&v=1`);
const inspect = async (id: string) => (await call("GET", `/containers/${id}/json`)).json;
/** An answer's status and what it says. */
const told = async (method: string, target: string, body?: unknown) => {
  const { status, json, text } = await call(method, target, body);
  return [status, json?.message ?? text];
};

describe("what is shown, by the version of the client", () => {
  let id: string;
  const mac = "02:42:ac:11:00:98";
  beforeAll(async () => {
    const { json } = await call("POST", "/containers/create?name=shown", {
      Image: world.image,
      Cmd: ["sleep", "1000"],
      Healthcheck: { Test: ["CMD", "true"], Interval: 1e9 },
      HostConfig: { Annotations: { a: "b" }, Sysctls: {} },
      NetworkingConfig: { EndpointsConfig: { bridge: { MacAddress: mac, GwPriority: 4 } } },
    });
    id = json.Id;
    await call("POST", `/containers/${id}/start`);
  });
  afterAll(() => remove(id));

  const shown = async (version: string) => (await call("GET", `/v${version}/containers/${id}/json`)).json;
  const listedAs = async (version: string) =>
    (await call("GET", `/v${version}/containers/json?filters={"name":["shown"]}`)).json[0];

  test("inspect: the default bridge's facts and the container's MAC address, until 1.52", async () => {
    const [before, after] = [await shown("1.51"), await shown("1.52")];
    expect(Object.keys(after.NetworkSettings)).toEqual(["SandboxID", "SandboxKey", "Ports", "Networks"]);
    const { IPAddress, Gateway, EndpointID } = after.NetworkSettings.Networks.bridge;
    expect(before.NetworkSettings).toMatchObject({
      ...{ Bridge: "", HairpinMode: false, SecondaryIPAddresses: null },
      ...{ IPAddress, Gateway, EndpointID, MacAddress: mac },
    });
    expect(before.Config).toMatchObject({ MacAddress: mac, OnBuild: null });
    for (const field of ["MacAddress", "OnBuild"]) expect(after.Config).not.toHaveProperty(field);
    expect(before.GraphDriver).toEqual({ Name: "overlayfs", Data: null });
    expect([before.Storage, after.GraphDriver]).toEqual([undefined, undefined]);
    expect(after.Storage).toEqual({ RootFS: { Snapshot: { Name: "overlayfs" } } });
  });

  test("the default network's name in its mode, from 1.45 on", async () => {
    const modes = async (version: string) => [
      (await shown(version)).HostConfig.NetworkMode,
      (await listedAs(version)).HostConfig.NetworkMode,
    ];
    expect(await modes("1.44")).toEqual(["default", "default"]);
    expect(await modes("1.45")).toEqual(["bridge", "bridge"]);
  });

  test("the manifest of its image, from 1.48 on, and not where it is about room on the disk", async () => {
    const { ImageManifestDescriptor: manifest } = await shown("1.48");
    expect(manifest).toEqual({
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
      size: expect.any(Number),
      platform: { architecture: expect.any(String), os: "linux" },
    });
    const digests = (await call("GET", `/images/${encodeURIComponent(world.image)}/json`)).json.RepoDigests;
    expect(digests[0]).toEndWith(`@${manifest.digest}`);
    expect((await listedAs("1.48")).ImageManifestDescriptor).toEqual(manifest);
    for (const one of [await shown("1.47"), await listedAs("1.47")])
      expect(one).not.toHaveProperty("ImageManifestDescriptor");
    const usage = (await call("GET", "/v1.51/system/df?type=container")).json;
    const own = usage.Containers.find(({ Id }: { Id: string }) => Id === id);
    expect(own.Names).toEqual(["/shown"]);
    expect(own).not.toHaveProperty("ImageManifestDescriptor");
  });

  test("list: annotations from 1.46, its health from 1.52", async () => {
    expect((await listedAs("1.45")).HostConfig).toEqual({ NetworkMode: "bridge" });
    expect((await listedAs("1.46")).HostConfig.Annotations).toEqual({ a: "b" });
    expect(await listedAs("1.51")).not.toHaveProperty("Health");
    const isHealthy = async () => (await listedAs("1.52")).Health.Status === "healthy";
    await eventually(isHealthy, { what: "its health" });
    expect((await listedAs("1.52")).Health).toEqual({ Status: "healthy", FailingStreak: 0 });
  });

  test("stats: as a stream, once may be asked for in vain from 1.52 on", async () => {
    const once = (version: string) => call("GET", `/v${version}/containers/${id}/stats?one-shot=1&stream=1`);
    const refused = await once("1.51");
    expect([refused.status, refused.json.message]).toEqual([
      400,
      "cannot have stream=true and one-shot=true",
    ]);
    const target = `http://docker/v1.52/containers/${id}/stats?one-shot=1`;
    const { body } = await fetch(target, { unix: world.api.socketPath });
    const reader = (body ?? new ReadableStream()).getReader();
    const { value } = await reader.read();
    await reader.cancel();
    expect(JSON.parse(Buffer.from(value).toString())).toMatchObject({ id, os_type: "linux" });
  });
});

describe("what is shown of a container's life", () => {
  const endpoint = async (id: string, network: string) => {
    const { SandboxID, SandboxKey, Networks } = (await inspect(id)).NetworkSettings;
    const { NetworkID, EndpointID, IPAddress, MacAddress, DNSNames } = Networks[network];
    return { SandboxID, SandboxKey, NetworkID, EndpointID, IPAddress, MacAddress, DNSNames };
  };
  const none = { SandboxID: "", SandboxKey: "", EndpointID: "", IPAddress: "" };
  const hex = expect.stringMatching(/^[0-9a-f]{64}$/);

  test("its networks: what was asked for, where it is, and then where it was", async () => {
    const networks: Record<string, string> = {};
    for (const Name of ["first", "later"])
      networks[Name] = (await call("POST", "/networks/create", { Name })).json.Id;
    const MacAddress = "02:42:ac:11:00:97";
    const { json } = await call("POST", "/containers/create", {
      Image: world.image,
      Cmd: ["sleep", "1000"],
      HostConfig: { NetworkMode: "first" },
      NetworkingConfig: { EndpointsConfig: { first: { MacAddress } } },
    });
    const id: string = json.Id;
    expect(await endpoint(id, "first")).toEqual({ ...none, NetworkID: "", MacAddress, DNSNames: null });
    await call("POST", "/networks/later/connect", { Container: id });
    const DNSNames = expect.arrayContaining([id.slice(0, 12)]);
    expect(await endpoint(id, "later")).toEqual({ ...none, NetworkID: "", MacAddress: "", DNSNames });

    await call("POST", `/containers/${id}/start`);
    const running = await endpoint(id, "first");
    expect(running.SandboxKey).toEndWith(`/netns/${running.SandboxID}`);
    expect(running).toMatchObject({ SandboxID: hex, EndpointID: hex, NetworkID: networks.first, MacAddress });
    await call("POST", `/containers/${id}/kill`);
    await call("POST", `/containers/${id}/wait`);
    for (const network of ["first", "later"]) {
      const ended = { ...none, NetworkID: networks[network], MacAddress: "", DNSNames };
      expect(await endpoint(id, network)).toEqual(ended);
    }
    await call("POST", "/networks/later/disconnect", { Container: id });
    await call("POST", "/networks/later/connect", { Container: id });
    expect((await endpoint(id, "later")).NetworkID).toBe("");
    await remove(id);
    for (const Name of Object.keys(networks)) await call("DELETE", `/networks/${Name}`);
  });

  test("its files, from its first start on", async () => {
    const id = await world.api.create(world.image, ["true"]);
    const files = async () => {
      const { ResolvConfPath, HostnamePath, HostsPath, LogPath } = await inspect(id);
      return [ResolvConfPath, HostnamePath, HostsPath, LogPath];
    };
    expect(await files()).toEqual(["", "", "", ""]);
    await call("POST", `/containers/${id}/start`);
    await call("POST", `/containers/${id}/wait`);
    for (const file of await files()) expect(await Bun.file(file).exists()).toBe(true);
    await remove(id);
  });

  test("its execs: those that weren't started end with it", async () => {
    const id = await world.api.run(world.image, ["sleep", "1000"]);
    const make = async () => (await call("POST", `/containers/${id}/exec`, { Cmd: ["true"] })).json.Id;
    const [ended, left] = [await make(), await make()];
    await call("POST", `/exec/${ended}/start`, { Detach: true });
    await eventually(async () => (await inspect(id)).ExecIDs.length === 1, { what: "the end of an exec" });
    await call("POST", `/containers/${id}/kill`);
    await call("POST", `/containers/${id}/wait`);
    expect((await inspect(id)).ExecIDs).toBeNull();
    expect((await call("GET", `/exec/${ended}/json`)).json.ExitCode).toBe(0);
    await call("POST", `/containers/${id}/start`);
    expect(await told("POST", `/exec/${left}/start`, {})).toEqual([404, `No such exec instance: ${left}`]);
    await remove(id);
  });
});

describe("a start that fails", () => {
  const cases: [string, object, [number, RegExp], number][] = [
    [
      "for a device that isn't there",
      { HostConfig: { Devices: [{ PathOnHost: "/dev/nosuch", PathInContainer: "/dev/x" }] } },
      [500, /^error gathering device information .*"\/dev\/nosuch": no such file or directory$/],
      128,
    ],
    ["for a user that isn't there", { User: "nosuch" }, [500, /^unable to find user nosuch: /], 128],
    ["for a command that isn't there", { Cmd: ["/nosuch"] }, [400, /no such file or directory/], 127],
    ["for a command that is none", { Cmd: ["/bin"] }, [400, /permission denied/], 126],
  ];
  test.each(cases)("%s", async (_what, body, [status, words], exitCode) => {
    const HostConfig = { NetworkMode: "none" };
    const id = await world.api.create(world.image, ["true"], { HostConfig, ...body });
    const answer = await told("POST", `/containers/${id}/start`);
    expect(answer).toEqual([status, expect.stringMatching(words)]);
    expect((await inspect(id)).State).toMatchObject({
      Status: "created",
      ExitCode: exitCode,
      Error: answer[1],
    });
    await remove(id);
  });
});

test("a container that can't be removed is shown as dead, and can only be removed", async () => {
  const id = await world.api.create(world.image, ["true"], {}, "dying");
  const { suite } = world.engine;
  await suite.kill("containerd", "SIGKILL");
  expect((await call("DELETE", `/containers/${id}`)).status).toBe(503);
  await suite.start("containerd");
  expect((await inspect(id)).State).toMatchObject({ Status: "dead", Dead: true, Running: false });
  const { json } = await call("GET", `/containers/json?filters={"status":["dead"]}`);
  expect(json.map(({ Id, State, Status }: Record<string, string>) => [Id, State, Status])).toEqual([
    [id, "dead", "Dead"],
  ]);
  const refusals: [string, string, object | undefined, number, string][] = [
    [
      "GET",
      "logs?stdout=1",
      undefined,
      409,
      "can not get logs from container which is dead or marked for removal",
    ],
    ["GET", "export", undefined, 409, `You cannot export container ${id} which is Dead`],
    ["POST", "start", undefined, 409, "container is marked for removal and cannot be started"],
    [
      "POST",
      "update",
      { CpuShares: 5 },
      409,
      `Cannot update container ${id}: container is marked for removal and cannot be "update"`,
    ],
    ["GET", "archive?path=/nosuch", undefined, 404, "Could not find the file /nosuch in container dying"],
  ];
  for (const [method, target, body, status, message] of refusals)
    expect(await told(method, `/containers/dying/${target}`, body)).toEqual([status, message]);
  expect(await told("POST", "/commit?container=dying", {})).toEqual([
    409,
    `You cannot commit container ${id} which is Dead`,
  ]);
  for (const what of ["connect", "disconnect"]) {
    expect(await told("POST", `/networks/bridge/${what}`, { Container: id })).toEqual([
      500,
      `Container ${id} is marked for removal and cannot be connected or disconnected to the network`,
    ]);
  }
  expect((await call("DELETE", `/containers/${id}`)).status).toBe(204);
});
