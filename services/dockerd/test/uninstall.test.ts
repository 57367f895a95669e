import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { eventually, run } from "@longshore/testkit";
import { binDir, openEngine, type TestEngine } from "./engine-client.ts";

setDefaultTimeout(60_000);
let world: TestEngine;

beforeAll(async () => {
  world = await openEngine();
});
afterAll(() => world?.[Symbol.asyncDispose]());

test("--uninstall takes away what is kept in the kernel, when nothing runs; the next start makes it anew", async () => {
  const { engine, api, image } = world;
  const { suite, bridge } = engine;
  const network = await api.call("POST", "/networks/create", { Name: "blue" });
  const link = `br-${network.json.Id.slice(0, 12)}`;
  const created = await api.call("POST", "/containers/create?name=runs", {
    Image: image,
    Cmd: ["sleep", "1000"],
    HostConfig: { NetworkMode: "blue" },
  });
  expect((await api.call("POST", `/containers/${created.json.Id}/start`)).status).toBe(204);

  const [program = "", ...args] = fs
    .readFileSync(`/proc/${suite.pid("dockerd")}/cmdline`, "utf8")
    .split("\0")
    .filter(Boolean);
  expect(path.basename(program)).toBe("dockerd");
  const end = async () => {
    const pid = suite.pid("dockerd");
    await suite.kill("dockerd", "SIGTERM");
    await eventually(() => !fs.existsSync(`/proc/${pid}`), { timeoutMs: 30_000 });
  };
  const uninstall = () => run([path.join(binDir, "dockerd"), ...args, "--uninstall"]);
  expect(await uninstall()).toMatchObject({ status: 1, stderr: expect.stringContaining("is in use by") });
  await end();
  expect(await uninstall()).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/containers are running \(processes [\d, ]+\): stop them first/),
  });

  await suite.start("dockerd");
  expect((await api.call("POST", "/containers/runs/kill")).status).toBe(204);
  await api.call("POST", "/containers/runs/wait");
  await end();
  const links = () => fs.readdirSync("/sys/class/net");
  const tables = () => spawnSync("nft", ["list", "tables"], { encoding: "utf8" }).stdout ?? "";
  expect(links()).toContain(bridge.name);
  expect(links()).toContain(link);
  expect(await uninstall()).toMatchObject({ status: 0 });
  expect(links()).not.toContain(bridge.name);
  expect(links()).not.toContain(link);
  expect(tables()).not.toContain(bridge.name);
  expect(fs.readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(`${suite.paths.dockerdExecRoot}/`);
  expect(fs.readdirSync(path.join(suite.paths.dockerdExecRoot, "netns"))).toEqual([]);
  expect(fs.existsSync(`/sys/fs/cgroup${engine.cgroupParent}`)).toBe(false);
  // Once more, with nothing there.
  expect(await uninstall()).toMatchObject({ status: 0 });

  await suite.start("dockerd");
  expect((await api.call("POST", "/containers/runs/start")).status).toBe(204);
  expect(
    (await api.call("GET", "/containers/runs/json")).json.NetworkSettings.Networks.blue.IPAddress,
  ).toMatch(/^172\./);
  await api.call("DELETE", "/containers/runs?force=1");
  await api.call("DELETE", "/networks/blue");
});

test("--uninstall without the data root takes away what the kernel tells of, unless a daemon is there still", async () => {
  const { engine, api, image } = world;
  const { suite, bridge } = engine;
  const network = await api.call("POST", "/networks/create", { Name: "lost" });
  const link = `br-${network.json.Id.slice(0, 12)}`;
  const id = await api.run(image, ["sleep", "1000"], { HostConfig: { NetworkMode: "lost" } });
  const [, ...args] = fs
    .readFileSync(`/proc/${suite.pid("dockerd")}/cmdline`, "utf8")
    .split("\0")
    .filter(Boolean);
  const at = args.indexOf("--data-root");
  expect(at).toBeGreaterThan(-1);
  const root = args[at + 1] ?? "";
  const elsewhere = args.with(at + 1, `${root}-gone`);
  const uninstall = () => run([path.join(binDir, "dockerd"), ...elsewhere, "--uninstall"]);
  expect(await uninstall()).toMatchObject({
    status: 1,
    stderr: expect.stringContaining("is gone, but a daemon still serves"),
  });
  const pid = suite.pid("dockerd");
  await suite.kill("dockerd", "SIGTERM");
  await eventually(() => !fs.existsSync(`/proc/${pid}`), { timeoutMs: 30_000 });
  expect(await uninstall()).toMatchObject({ status: 1, stderr: expect.stringContaining("are running") });
  await suite.start("dockerd");
  await api.call("DELETE", `/containers/${id}?force=1`);
  const again = suite.pid("dockerd");
  await suite.kill("dockerd", "SIGTERM");
  await eventually(() => !fs.existsSync(`/proc/${again}`), { timeoutMs: 30_000 });

  const links = () => fs.readdirSync("/sys/class/net");
  expect(links()).toContain(link);
  const { status, stderr, stdout } = await uninstall();
  expect({ status, said: `${stderr}${stdout}` }).toMatchObject({
    ...{ status: 0, said: expect.stringContaining("the data root is gone") },
  });
  expect(links()).not.toContain(bridge.name);
  expect(links()).not.toContain(link);
  const tables = spawnSync("nft", ["list", "tables"], { encoding: "utf8" }).stdout ?? "";
  expect(tables).not.toContain(bridge.name);
  expect(fs.existsSync(`/sys/fs/cgroup${engine.cgroupParent}`)).toBe(false);
  expect(fs.existsSync(`${root}-gone`)).toBe(false);

  await suite.start("dockerd");
  await api.call("DELETE", "/networks/lost");
});
