import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { eventually } from "@longshore/testkit";
import { demultiplex, openEngine, type TestEngine } from "./engine-client.ts";

setDefaultTimeout(60_000);
let world: TestEngine;
beforeAll(async () => {
  world = await openEngine();
});
afterAll(() => world[Symbol.asyncDispose]());

const inspect = async (id: string) => (await world.api.call("GET", `/containers/${id}/json`)).json;
const start = (id: string) => world.api.call("POST", `/containers/${id}/start`);
const remove = (id: string) => world.api.call("DELETE", `/containers/${id}?force=1&v=1`);

async function exec(id: string, ...Cmd: string[]): Promise<string> {
  const { api } = world;
  const created = await api.call("POST", `/containers/${id}/exec`, {
    Cmd,
    AttachStdout: true,
    AttachStderr: true,
  });
  const stream = await api.hijack(`/exec/${created.json.Id}/start`, { Detach: false, Tty: false });
  const { stdout, stderr } = demultiplex(await stream.ended);
  return stdout + stderr;
}

test("a link on the default bridge: variables, hosts, names, a new address, and its removal", async () => {
  const { api, image, engine } = world;
  const target = {
    HostConfig: { NetworkMode: "bridge" },
    ExposedPorts: { "6379/tcp": {} },
    Env: ["PASSWORD=gordon"],
  };
  const db = await api.run(image, ["sleep", "1000"], target, "db");
  const HostConfig = { NetworkMode: "bridge", Links: ["db:store"] };
  const web = await api.create(image, ["sleep", "1000"], { HostConfig, Env: ["STORE_NAME=mine"] }, "web");
  expect((await inspect(web)).HostConfig.Links).toEqual(["/db:/web/store"]);
  expect((await start(web)).status).toBe(204);
  const address = async () => (await inspect(db)).NetworkSettings.Networks.bridge.IPAddress;
  const environment = await exec(web, "env");
  expect(environment).toContain(`STORE_PORT=tcp://${await address()}:6379\n`);
  expect(environment).toContain(`STORE_PORT_6379_TCP_ADDR=${await address()}\n`);
  expect(environment).toContain("STORE_ENV_PASSWORD=gordon\n");
  expect(environment).toContain("STORE_NAME=mine\n"); // the container's own has the last word
  const line = async () => `${await address()}\tstore ${db.slice(0, 12)} db\n`;
  expect(await exec(web, "cat", "/etc/hosts")).toContain(await line());
  const listed = (await api.call("GET", "/containers/json")).json as { Id: string; Names: string[] }[];
  expect(listed.find(({ Id }) => Id === db)?.Names).toEqual(["/db", "/web/store"]);

  // With its address taken by another one, it gets a new one, which the hosts file then has.
  await api.call("POST", `/containers/${db}/stop?t=0`);
  expect((await api.call("POST", `/containers/${web}/restart?t=0`)).json.message).toBe(
    "Cannot link to a non running container: /db AS /web/store",
  );
  const taker = await api.run(image, ["sleep", "1000"], { HostConfig: { NetworkMode: "bridge" } });
  expect((await start(db)).status).toBe(204);
  expect((await start(web)).status).toBe(204);
  const before = await address();
  await api.call("POST", `/containers/${db}/stop?t=0`);
  const second = await api.run(image, ["sleep", "1000"], { HostConfig: { NetworkMode: "bridge" } });
  await start(db);
  expect(await exec(web, "cat", "/etc/hosts")).toContain(await line());
  if ((await address()) !== before)
    expect(await exec(web, "cat", "/etc/hosts")).not.toContain(`${before}\tstore`);

  expect((await api.call("DELETE", "/containers/web?link=1")).json.message).toBe(
    "Conflict, cannot remove the default link name of the container",
  );
  expect((await api.call("DELETE", "/containers/web/other?link=1")).status).toBe(404);
  expect((await api.call("DELETE", "/containers/web/store?link=1")).status).toBe(204);
  expect(await exec(web, "cat", "/etc/hosts")).not.toContain("store");
  expect((await inspect(web)).HostConfig.Links).toBeNull();
  for (const id of [web, db, taker, second]) await remove(id);
  expect(await engine.leaks()).toEqual([]);
});

test("what can't be linked is refused in Docker's words", async () => {
  const { api, image } = world;
  const create = async (HostConfig: object) =>
    (await api.call("POST", "/containers/create", { Image: image, Cmd: ["true"], HostConfig })).json.message;
  expect(await create({ Links: ["nobody"] })).toBe(
    "could not get container for nobody: No such container: nobody",
  );
  expect(await create({ Links: ["a:b:c"] })).toBe("bad format for links: a:b:c");
  const id = await api.create(image, ["true"], {}, "there");
  expect(await create({ NetworkMode: "host", Links: ["there"] })).toStartWith(
    "conflicting options: host type networking can't be used with links.",
  );
  await remove(id);
});

test("after a daemon's restart what joins another one's network is started when that one runs", async () => {
  const { api, image, engine } = world;
  const RestartPolicy = { Name: "always", MaximumRetryCount: 0 };
  const target = await api.run(image, ["sleep", "1000"], { HostConfig: { NetworkMode: "bridge" } }, "target");
  const HostConfig = { NetworkMode: "container:target", RestartPolicy };
  const joined = await api.run(image, ["sleep", "1000"], { HostConfig }, "joined");
  expect((await inspect(joined)).HostConfig.NetworkMode).toBe(`container:${target}`);
  const pids = await Promise.all([target, joined].map(async (id) => (await inspect(id)).State.Pid as number));
  await engine.suite.kill("dockerd", "SIGKILL");
  for (const pid of pids) process.kill(pid, "SIGKILL");
  await engine.suite.start("dockerd");
  // Nobody starts the target but its user, some time later.
  await eventually(async () => (await inspect(target)).State.Status === "exited");
  expect((await inspect(joined)).State.Status).not.toBe("running");
  expect((await start(target)).status).toBe(204);
  await eventually(async () => (await inspect(joined)).State.Status === "running", { timeoutMs: 30_000 });
  for (const id of [joined, target]) await remove(id);
  expect(await engine.leaks()).toEqual([]);
});
