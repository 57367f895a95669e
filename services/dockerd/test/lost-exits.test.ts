import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { eventSubject, hostName, now, openEventBus, outgoingEvent } from "@longshore/events";
import { eventually } from "@longshore/testkit";
import { openEngine, type TestEngine } from "./engine-client.ts";

setDefaultTimeout(90_000);
let world: TestEngine;
beforeAll(async () => {
  world = await openEngine({ without: [] });
});
afterAll(() => world[Symbol.asyncDispose]());

const inspect = async (id: string) => (await world.api.call("GET", `/containers/${id}/json`)).json;
const isAlive = (pid: number) => fs.existsSync(`/proc/${pid}`);

/** Run a command while both daemons are killed, then take away what a restart of the machine would: the shim and its directory. */
async function endUnseen(
  cmd: string[],
  end: (init: number, shim: number, id: string) => Promise<void>,
): Promise<string> {
  const { api, image, engine } = world;
  const id = await api.run(image, cmd);
  const { Pid } = (await inspect(id)).State;
  const shim = Number(/^PPid:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${Pid}/status`, "utf8"))?.[1]);
  await engine.suite.kill("dockerd", "SIGKILL");
  await engine.suite.kill("containerd", "SIGKILL");
  await end(Pid, shim, id);
  await eventually(() => !isAlive(Pid) && !isAlive(shim));
  const bundle = path.join(engine.suite.paths.containerdState, "io.containerd.runtime.v2.task/moby", id);
  spawnSync("umount", ["--lazy", path.join(bundle, "rootfs")]);
  fs.rmSync(bundle, { recursive: true, force: true });
  fs.rmSync(path.join(engine.suite.paths.dockerdExecRoot, "runc/moby", id), { recursive: true, force: true });
  const groups = ["", ...fs.readdirSync("/sys/fs/cgroup")].map((name) =>
    path.join("/sys/fs/cgroup", name, engine.cgroupParent, id),
  );
  for (const group of groups) if (fs.existsSync(group)) fs.rmdirSync(group);
  await engine.suite.start("containerd");
  await engine.suite.start("dockerd");
  await eventually(async () => (await inspect(id)).State.Status === "exited");
  return id;
}

/** It starts again as any other, and goes without leaving anything. */
async function startAgain(id: string): Promise<void> {
  const { api, engine } = world;
  expect((await api.call("POST", `/containers/${id}/start`)).status).toBe(204);
  expect((await inspect(id)).State.Error).toBe("");
  expect((await api.call("DELETE", `/containers/${id}?force=1`)).status).toBe(204);
  expect(await engine.leaks()).toEqual([]);
}

test("an exit that only the event stream still knows is told as it was", async () => {
  const { suite, dir } = world.engine;
  const bus = openEventBus({
    ...{ url: suite.natsUrl, tokenFile: suite.paths.natsTokenFile, name: "test" },
    queueFile: path.join(dir, "test.queue"),
  });
  const exitOf = (id: string) =>
    bus.last(
      eventSubject("/tasks/exit", id, { host: hostName(), namespace: "moby" }),
      AbortSignal.timeout(5000),
    );
  const id = await endUnseen(["sh", "-c", "sleep 1; exit 13"], async (init, shim, container) => {
    await eventually(() => !isAlive(init));
    await eventually(async () => (await exitOf(container)) !== undefined);
    process.kill(shim, "SIGKILL");
  });
  await bus.close();
  expect((await inspect(id)).State).toMatchObject({ ExitCode: 13, Error: "" });
  await startAgain(id);
});

test("an exit that nobody saw is that of a killed process, and the state says that it was lost", async () => {
  const id = await endUnseen(["sleep", "1000"], async (init, shim) => {
    process.kill(shim, "SIGKILL");
    process.kill(init, "SIGKILL");
  });
  expect((await inspect(id)).State).toMatchObject({
    ExitCode: 137,
    Error: "its exit status was lost: it ended while nobody was there to see it",
  });
  await startAgain(id);
});

test("exits on NATS with a wrong process, container or status change nothing", async () => {
  const { api, engine, image } = world;
  const { suite, dir } = engine;
  const bus = openEventBus({
    ...{ url: suite.natsUrl, tokenFile: suite.paths.natsTokenFile, name: "forger" },
    queueFile: path.join(dir, "forger.queue"),
  });
  const id = await api.run(image, ["sleep", "1000"]);
  const { Pid } = (await inspect(id)).State;
  const exec = (await api.call("POST", `/containers/${id}/exec`, { Cmd: ["sleep", "1000"] })).json.Id;
  await api.call("POST", `/exec/${exec}/start`, { Detach: true });
  const execState = async () => (await api.call("GET", `/exec/${exec}/json`)).json;
  const { Pid: execPid } = await execState();
  expect(execPid).toBeGreaterThan(0);
  const publish = (of: string, pid: number, exitStatus: number, containerId = id) => {
    const exit = { containerId, id: of, pid, exitStatus, exitedAt: now() };
    const origin = { host: hostName(), namespace: "moby", source: "shim" as const, time: now() };
    bus.publish(outgoingEvent("/tasks/exit", exit, origin));
  };
  publish(id, 0, 1);
  publish(id, Pid + 1, 1);
  publish(id, Pid, 256);
  publish(exec, 0, 1);
  publish(exec, execPid + 1, 1);
  publish(exec, execPid, 1, "f".repeat(64));
  // dockerd takes events in order: when it has taken this one, it has refused the others.
  publish(exec, execPid, 3);
  await eventually(async () => (await execState()).Running === false);
  expect((await execState()).ExitCode).toBe(3);
  expect((await inspect(id)).State).toMatchObject({ Status: "running", Pid });
  await bus.close();
  expect((await api.call("DELETE", `/containers/${id}?force=1`)).status).toBe(204);
  expect(await engine.leaks()).toEqual([]);
});
