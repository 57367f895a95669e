import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import fs from "node:fs";
import { eventually } from "@longshore/testkit";
import { type Answer, openEngine, type TestEngine } from "./engine-client.ts";

setDefaultTimeout(60_000);
let world: TestEngine;
beforeAll(async () => {
  world = await openEngine();
});
afterAll(() => world[Symbol.asyncDispose]());

const call = (method: string, target: string, body?: unknown): Promise<Answer> =>
  world.api.call(method, target, body);
const none = (more: object) => ({ NetworkMode: "none", ...more });
const sleeper = (more: object = {}, name?: string) =>
  world.api.create(world.image, ["sleep", "1000"], { HostConfig: none({}), ...more }, name);
const remove = (id: string) => call("DELETE", `/containers/${id}?force=1`);
const inspect = async (id: string, version = "") =>
  (await call("GET", `${version}/containers/${id}/json`)).json;

async function listed(filters: object, more = "all=1"): Promise<string[] | string> {
  const { status, json } = await call(
    "GET",
    `/containers/json?${more}&filters=${encodeURIComponent(JSON.stringify(filters))}`,
  );
  if (status !== 200) return `${status} ${json.message}`;
  return json.map(({ Names }: { Names: string[] }) => Names[0]?.slice(1)).sort();
}

/** The last event of a container with this action, with what goes along. */
async function lastEvent(action: string, id: string, since: number) {
  const filters = encodeURIComponent(JSON.stringify({ event: [action], container: [id] }));
  let last = "";
  // Some are told only when the client has its answer.
  await eventually(
    async () => {
      const until = (Date.now() / 1000 + 0.002).toFixed(3);
      const query = `since=${since.toFixed(3)}&until=${until}&filters=${filters}`;
      last = (await call("GET", `/events?${query}`)).text.trim().split("\n").at(-1) ?? "";
      return last !== "";
    },
    { what: `an event ${action}` },
  );
  return JSON.parse(last);
}

describe("create, by the version of the client", () => {
  const mac = "02:42:ac:11:00:99";
  const create = async (version: string, body: object) => {
    const { status, json } = await call("POST", `/v${version}/containers/create`, {
      Image: world.image,
      Cmd: ["true"],
      ...body,
    });
    if (status !== 201) return { refused: `${status} ${json.message}` };
    // All that older versions show.
    const { HostConfig, Config, NetworkSettings } = (await call("GET", `/v1.44/containers/${json.Id}/json`))
      .json;
    await remove(json.Id);
    return { warnings: json.Warnings as string[], HostConfig, Config, NetworkSettings };
  };

  test("defaults and fields are those of its time", async () => {
    const body = { HostConfig: none({ AutoRemove: true, Annotations: { a: "b" }, ConsoleSize: [5, 6] }) };
    expect((await create("1.24", body)).HostConfig).toMatchObject({
      AutoRemove: false,
      IpcMode: "shareable",
      ConsoleSize: [0, 0],
    });
    expect((await create("1.24", body)).HostConfig).not.toHaveProperty("Annotations");
    expect((await create("1.44", body)).HostConfig).toMatchObject({
      AutoRemove: true,
      IpcMode: "private",
      ConsoleSize: [5, 6],
      Annotations: { a: "b" },
    });
    // It didn't have the parameter.
    const other = `platform=${encodeURIComponent("linux/arm64")}`;
    const answers = await Promise.all(
      ["1.40", "1.41"].map((version) =>
        call("POST", `/v${version}/containers/create?${other}`, { Image: world.image, Cmd: ["true"] }),
      ),
    );
    expect(answers.map(({ status }) => status)).toEqual([201, 404]);
    await remove(answers[0]?.json.Id);
  });

  test("a MAC address is the endpoint's from 1.44 on, and nobody's without a network of one's own", async () => {
    const old = await create("1.43", { MacAddress: mac });
    const now = await create("1.51", { MacAddress: mac });
    expect([old.warnings, now.warnings]).toEqual([[], [expect.stringContaining("MacAddress field is now")]]);
    for (const { Config } of [old, now]) expect(Config.MacAddress).toBe(mac);
    const newest = await create("1.52", { MacAddress: mac });
    expect([newest.warnings, newest.Config.MacAddress]).toEqual([[], undefined]);
    const host = { MacAddress: mac, HostConfig: { NetworkMode: "host" } };
    expect((await create("1.43", host)).refused).toBe(
      "400 conflicting options: mac-address and the network mode",
    );
    expect((await create("1.44", host)).Config).not.toHaveProperty("MacAddress");
  });

  test("networks that are named one by one are all of them; one that isn't there yet is looked for at the start", async () => {
    const names = ["one", "two"];
    for (const Name of names) await call("POST", "/networks/create", { Name });
    const on = (mode: string, ...all: string[]) => ({
      HostConfig: { NetworkMode: mode },
      NetworkingConfig: { EndpointsConfig: Object.fromEntries(all.map((name) => [name, {}])) },
    });
    const networks = async (version: string, body: object) => {
      const made = await create(version, body);
      return made.refused ?? Object.keys(made.NetworkSettings.Networks).sort();
    };
    expect(await networks("1.41", on("default", "one"))).toEqual(["one"]);
    expect(await networks("1.44", on("one", "one", "two"))).toEqual(["one", "two"]);
    expect(await networks("1.44", on("one", "two"))).toEqual(["two"]);
    expect(await networks("1.44", on("bridge"))).toEqual(["bridge"]);
    expect(await networks("1.43", on("one", "one", "two"))).toStartWith(
      "400 Container cannot be created with multiple network endpoints",
    );
    expect(await networks("1.44", on("host", "one"))).toStartWith(
      "400 container cannot be disconnected from host",
    );
    expect(await networks("1.44", on("none", "one"))).toStartWith(
      "400 container cannot be connected to multiple",
    );
    expect(
      await networks("1.44", { ...on("one"), NetworkingConfig: { EndpointsConfig: { one: null } } }),
    ).toBe("400 invalid config for network one: EndpointsConfig is nil");
    expect(await networks("1.44", { ...on("bridge", "one", "two"), MacAddress: mac })).toContain(
      "HostConfig.NetworkMode must match the identity of a network",
    );

    const id = await sleeper({ HostConfig: { NetworkMode: "three" } });
    const start = () => call("POST", `/containers/${id}/start`);
    const failed = await start();
    expect([failed.status, failed.json.message]).toEqual([
      404,
      "failed to set up container networking: network three not found",
    ]);
    await call("POST", "/networks/create", { Name: "three" });
    expect((await start()).status).toBe(204);
    const { NetworkSettings, Config } = await inspect(id);
    expect([NetworkSettings.Networks.three.Aliases, NetworkSettings.Networks.three.DNSNames]).toEqual([
      null,
      expect.arrayContaining([Config.Hostname]),
    ]);
    // Older versions of the API have its own names there, too.
    const older = (await call("GET", `/v1.44/containers/${id}/json`)).json;
    expect(older.NetworkSettings.Networks.three.Aliases).toEqual([Config.Hostname]);
    await remove(id);
    for (const name of [...names, "three"]) await call("DELETE", `/networks/${name}`);
  });

  test("a bind of what has the daemon's own directories in it, or is in them, follows what is unmounted there", async () => {
    const { dockerdRoot } = world.engine.suite.paths;
    const Binds = ["/:/whole:ro", `${dockerdRoot}/volumes:/own`, "/usr:/usr"];
    const id = await sleeper({ HostConfig: none({ Binds }) });
    const started = await call("POST", `/containers/${id}/start`);
    expect([started.status, started.text]).toEqual([204, ""]);
    const { Mounts } = await inspect(id);
    expect(Mounts.map(({ Propagation }: { Propagation: string }) => Propagation)).toEqual([
      "rslave",
      "rslave",
      "rprivate",
    ]);
    await remove(id);
    const { refused } = await create("1.44", { HostConfig: none({ Binds: ["/:/whole:private"] }) });
    expect(refused).toContain('must use either propagation mode "rslave" or "rshared"');
  });

  test("what is asked for is what is shown", async () => {
    const { Config, HostConfig } = await create("1.44", {
      Env: ["B=1"],
      OnBuild: ["RUN x"],
      WorkingDir: "/a/../b/",
      labels: { "a key": null },
      hostConfig: none({ PidsLimit: -1, securityopt: ["apparmor=unconfined"] }),
    });
    expect(Config).toMatchObject({ OnBuild: ["RUN x"], WorkingDir: "/b", Labels: { "a key": "" } });
    expect(Config.Env[0]).toBe("B=1");
    expect(HostConfig).toMatchObject({ PidsLimit: null, SecurityOpt: ["apparmor=unconfined"] });
    expect(HostConfig.MaskedPaths).toContain("/proc/kcore");
    expect(HostConfig.ReadonlyPaths).toContain("/proc/sys");
    for (const unset of [Config, HostConfig])
      for (const key of ["NetworkDisabled", "Init"]) expect(unset).not.toHaveProperty(key);
  });
});

describe("list", () => {
  const names = ["made", "ended", "runs"];
  beforeAll(async () => {
    const { api, image } = world;
    const ports = { ExposedPorts: { "8080/tcp": {}, "53/udp": {} } };
    await api.create(image, ["true"], { ...ports, HostConfig: none({}) }, "made");
    await api.create(image, ["sh", "-c", "exit 3"], { HostConfig: none({}) }, "ended");
    await call("POST", "/containers/ended/start");
    await call("POST", "/containers/ended/wait");
    const published = { PortBindings: { "8080/tcp": [{ HostIp: "127.0.0.1", HostPort: "" }] } };
    await api.create(image, ["sleep", "1000"], { ...ports, HostConfig: published }, "runs");
    await call("POST", "/containers/runs/start");
  });
  afterAll(async () => {
    for (const name of names) await remove(name);
  });

  // Filters, what is listed of all containers, and what without `all`, where that is something else.
  const cases: [object | null, string[] | string, (string[] | string)?][] = [
    [null, ["ended", "made", "runs"], ["runs"]],
    [{ status: { exited: false } }, ["ended"]],
    [{ exited: ["3"] }, ["ended"], []],
    [{ exited: ["0"] }, []],
    [{ exited: ["x"] }, "400 invalid filter 'exited=x': strconv.Atoi: parsing \"x\": invalid syntax"],
    [{ before: ["runs"] }, ["ended", "made"], []],
    [{ since: ["made"] }, ["ended", "runs"], ["runs"]],
    [{ since: ["nobody"] }, "404 No such container: nobody"],
    [{ name: ["^/?(?:made|ended)$"] }, ["ended", "made"], []],
    [{ name: ["(?i)RUN"] }, ["runs"]],
    [{ name: ["["] }, []],
    [{ name: ["[", "made"] }, ["made"], []],
    [{ id: [""] }, []],
    [{ network: ["none"] }, ["ended", "made"], []],
    [{ isolation: ["hyperv"] }, ["ended", "made", "runs"], ["runs"]],
    [{ "is-task": ["false"] }, ["ended", "made", "runs"], ["runs"]],
    [{ "is-task": ["true"] }, []],
    [{ expose: ["8000-9000"] }, ["runs"]],
    [{ expose: ["53/udp"] }, ["runs"]],
    [{ expose: ["53"] }, []],
    [{ publish: ["8080"] }, []],
    [{ publish: ["1024-65535"] }, ["runs"]],
    [{ publish: ["80/nosuch"] }, []],
    [{ publish: ["80:80"] }, "400 filter for 'publish' should not contain ':': 80:80"],
    [
      { publish: ["2-1"] },
      "400 error while looking up for publish 2-1: Invalid range specified for the Port: 2-1",
    ],
    [
      { expose: ["99999"] },
      '400 error while looking up for expose 99999: strconv.ParseUint: parsing "99999": value out of range',
    ],
  ];
  test.each(cases)("%j", async (filters, all, running = all) => {
    expect(await listed(filters as object)).toEqual(all);
    expect(await listed(filters as object, "")).toEqual(running);
  });

  test("the port of the host is what is published", async () => {
    const port = (await inspect("runs")).NetworkSettings.Ports["8080/tcp"][0].HostPort;
    expect(await listed({ publish: [port] })).toEqual(["runs"]);
    expect(await listed({ expose: [port] })).toEqual([]);
  });

  test("an id's beginning counts when it is one container's", async () => {
    const { Id } = await inspect("made");
    expect(await listed({ id: [Id.slice(0, 20)] })).toEqual(["made"]);
  });

  test("limit", async () => {
    const count = async (limit: string) => {
      const { status, json } = await call("GET", `/containers/json?limit=${limit}`);
      return status === 200 ? json.length : `${status} ${json.message}`;
    };
    expect(await Promise.all(["2", "-1", "0", "%2B1"].map(count))).toEqual([2, 1, 1, 1]);
    expect(await count("99999999999999999999")).toEndWith("value out of range");
  });

  test("an image is shown by its id once its name is another's", async () => {
    const tag = (name: string) => call("POST", `/images/${encodeURIComponent(world.image)}/tag?repo=${name}`);
    await tag("named");
    const id = await world.api.create("named", ["true"], { HostConfig: none({}) }, "by-name");
    const shown = async () => {
      const { json } = await call("GET", `/containers/json?all=1&filters={"name":["by-name"]}`);
      return [json[0].Image, json[0].ImageID];
    };
    const [name, imageId] = await shown();
    expect(name).toBe("named");
    await call("DELETE", "/images/named?force=1");
    expect(await shown()).toEqual([imageId, imageId]);
    // Whose the name is by now can't be found out; the list is there all the same.
    const { suite } = world.engine;
    await suite.kill("containerd", "SIGKILL");
    expect(await shown()).toEqual(["named", imageId]);
    await suite.start("containerd");
    await eventually(async () => (await shown())[0] === imageId, { what: "containerd's answer" });
    await remove(id);
  });
});

describe("a container that runs", () => {
  let id: string;
  let since: number;
  beforeAll(async () => {
    since = Date.now() / 1000;
    id = await sleeper({ Labels: { l: "1" }, HostConfig: none({ PidsLimit: 50 }) }, "busy");
    await call("POST", `/containers/${id}/start`);
  });
  afterAll(() => remove(id));

  test("top: any arguments of ps, also those that show nobody else's processes; an event tells", async () => {
    const top = (args: string) => call("GET", `/containers/busy/top?ps_args=${encodeURIComponent(args)}`);
    const { Pid } = (await inspect(id)).State;
    expect((await top("-o pid,comm")).json).toEqual({
      Titles: ["PID", "COMMAND"],
      Processes: [[String(Pid), "sleep"]],
    });
    expect((await top("-eo pid,args --sort=-pid")).json.Processes).toEqual([[String(Pid), "sleep 1000"]]);
    const refused = async (args: string) => {
      const { status, json } = await top(args);
      return `${status} ${json.message}`;
    };
    expect(await refused("-e -o uid=PID")).toBe('400 specifying "uid=PID" is not allowed');
    expect(await refused("-o comm")).toBe("400 Couldn't find PID field in ps output");
    expect(await refused("--nosuch")).toStartWith("400 ps: error: ");
    expect((await lastEvent("top", id, since)).Actor.Attributes).toMatchObject({ name: "busy", l: "1" });
  });

  test("resize: there may be no terminal, sizes are what a terminal can have", async () => {
    expect((await call("POST", "/containers/busy/resize?h=5&w=6")).status).toBe(200);
    expect((await lastEvent("resize", id, since)).Actor.Attributes).toMatchObject({
      height: "5",
      width: "6",
    });
    const answer = await call("POST", "/containers/busy/resize?h=-1&w=6");
    expect([answer.status, answer.json.message]).toEqual([
      400,
      'invalid resize height "-1": value out of range',
    ]);
    expect((await call("POST", "/containers/busy/resize?h=1&w=65536")).status).toBe(400);
  });

  test("export: the event has what all of a container's have", async () => {
    expect((await call("GET", "/containers/busy/export")).status).toBe(200);
    expect((await lastEvent("export", id, since)).Actor.Attributes).toMatchObject({ name: "busy", l: "1" });
  });

  test("update: no limit of processes, and limits that go with no other", async () => {
    const update = (body: object, version = "") => call("POST", `${version}/containers/busy/update`, body);
    const limit = async () => (await inspect(id)).HostConfig.PidsLimit;
    await update({ PidsLimit: 0 }, "/v1.39");
    expect(await limit()).toBe(50);
    for (const PidsLimit of [-1, 60, 0]) {
      expect((await update({ PidsLimit })).status).toBe(200);
      expect(await limit()).toBe(Math.max(PidsLimit, 0));
    }
    const { json } = await call("GET", "/containers/busy/stats?stream=0&one-shot=1");
    expect(json.pids_stats).not.toHaveProperty("limit");
    expect((await update({ CpuPeriod: 100_000, CpuQuota: 50_000 })).status).toBe(200);
    const answer = await update({ NanoCpus: 5e8 });
    expect([answer.status, answer.json.message]).toEqual([
      409,
      `Cannot update container ${id}: Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set`,
    ]);
    const least = await update({ Memory: 4 << 20 });
    expect([least.status, least.json.message]).toEqual([400, "Minimum memory limit allowed is 6MB"]);
    // Limits of memory and swap are one or the other's to follow.
    const swap = async () => {
      const { Memory, MemorySwap } = (await inspect(id)).HostConfig;
      return [Memory >> 20, MemorySwap >> 20];
    };
    const unlimited = await update({ Memory: 64 << 20 });
    expect([unlimited.status, unlimited.json.message]).toEqual([
      409,
      `Cannot update container ${id}: Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time`,
    ]);
    expect((await update({ Memory: 64 << 20, MemorySwap: 128 << 20 })).status).toBe(200);
    expect((await update({ Memory: 128 << 20 })).status).toBe(200);
    expect(await swap()).toEqual([128, 128]);
    expect((await update({ Memory: 129 << 20 })).status).toBe(409);
    const warned = (await update({ KernelMemory: 1 << 30 })).json.Warnings;
    expect(warned).toEqual([]);
  });

  test("kill: a signal wakes who is paused, unless there is one to stop it by", async () => {
    const status = async (name: string) => (await inspect(name)).State.Status;
    await call("POST", "/containers/busy/pause");
    expect((await call("POST", "/containers/busy/kill?signal=WINCH")).status).toBe(204);
    expect(await status("busy")).toBe("running");
    const other = await sleeper({ StopSignal: "SIGUSR1" });
    await call("POST", `/containers/${other}/start`);
    await call("POST", `/containers/${other}/pause`);
    await call("POST", `/containers/${other}/kill?signal=WINCH`);
    expect(await status(other)).toBe("paused");
    // The runtime then finds nothing to resume.
    thaw((await inspect(other)).State.Pid);
    expect((await call("POST", `/containers/${other}/kill?signal=USR1`)).text).toBe("");
    expect((await call("DELETE", `/containers/${other}?force=1`)).text).toBe("");
    const refused = await call("POST", "/containers/nobody/kill");
    expect(refused.json.message).toBe("cannot kill container: nobody: No such container: nobody");
    expect((await call("POST", "/containers/busy/kill?signal=RTMIN%2B99")).status).toBe(400);
    const unknown = await call("POST", "/containers/busy/kill?signal=70");
    expect([unknown.status, unknown.json.message]).toEqual([
      400,
      "cannot kill container: busy: the linux daemon does not support signal 70",
    ]);
  });

  test("stop: a signal is of version 1.42, and a time of weeks is no moment", async () => {
    const trap = await world.api.create(
      world.image,
      ["sh", "-c", "trap 'exit 7' USR1; trap 'sleep 0.5; exit 8' TERM; while :; do sleep 0.05; done"],
      { HostConfig: none({}) },
    );
    for (const [version, exitCode] of [
      ["/v1.41", 8],
      ["/v1.42", 7],
    ] as const) {
      await call("POST", `/containers/${trap}/start`);
      await eventuallyTraps(trap);
      await call("POST", `${version}/containers/${trap}/stop?signal=USR1&t=4000000`);
      expect((await inspect(trap)).State.ExitCode).toBe(exitCode);
    }
    await remove(trap);
  });
});

/** Let the processes of a cgroup go on, past everyone who believes them frozen. */
function thaw(pid: number): void {
  const groups = fs.readFileSync(`/proc/${pid}/cgroup`, "utf8");
  const version1 = /^\d+:freezer:(.+)$/m.exec(groups)?.[1];
  if (version1 !== undefined) fs.writeFileSync(`/sys/fs/cgroup/freezer${version1}/freezer.state`, "THAWED");
  else fs.writeFileSync(`/sys/fs/cgroup${/^0::(.+)$/m.exec(groups)?.[1]}/cgroup.freeze`, "0");
}

/** Wait until the shell has set its traps and gone on. */
async function eventuallyTraps(id: string): Promise<void> {
  for (;;) {
    const { json } = await call("GET", `/containers/${id}/top?ps_args=${encodeURIComponent("-eo pid,args")}`);
    if (json.Processes.some(([, args]: string[]) => args?.startsWith("sleep 0.05"))) return;
  }
}

test("prune, start and other methods: Docker's answers", async () => {
  const answers: [string, string, unknown, number, RegExp][] = [
    ["POST", '/containers/prune?filters={"until":["1","2"]}', undefined, 400, /more than one until filter/],
    ["POST", "/containers/nobody/start", { Binds: ["/a:/b"] }, 400, /non-empty request body/],
    ["POST", "/containers/nobody/start?checkpoint=x", undefined, 400, /experimental mode/],
    ["GET", "/containers/nobody/logs", undefined, 400, /at least one stream/],
    ["POST", "/containers/nobody/stop?t=x", undefined, 400, /parsing "x"/],
    ["POST", "/containers/nobody/update", "{", 400, /invalid JSON/],
    ["POST", "/containers/renamed/start?checkpoint-dir=/x", undefined, 403, /^custom checkpointdir is not/],
    ["OPTIONS", "/containers/json", undefined, 200, /^$/],
    ["OPTIONS", "/v1.41/nobody/knows", undefined, 200, /^$/],
    ["OPTIONS", "/v1.99/info", undefined, 400, /client version 1.99 is too new/],
  ];
  const id = await sleeper({}, "renamed");
  for (const [method, target, body, status, message] of answers) {
    const answer = await call(method, target, body);
    expect([target, answer.status]).toEqual([target, status]);
    expect(answer.json?.message ?? answer.text).toMatch(message);
  }
  const { json } = await call("POST", `/containers/${id}/rename?name=a%20b`);
  expect(json.message).toStartWith("Error when allocating new name: Invalid container name (a b)");
  await remove(id);
});
