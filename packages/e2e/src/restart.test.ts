import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { eventually } from "@longshore/testkit";
import { initPid } from "./init-process.ts";
import { useWorld } from "./world.ts";

const world = useWorld();
const docker = (...args: string[]) => world().docker()(...args);

const COUNTER = 'trap "echo bye; exit 21" TERM; i=0; while :; do i=$((i + 1)); echo $i; usleep 5000; done';

/** Processes that outlive their parent, without a pid namespace to end them. */
const BUSY = "for i in 1 2 3; do sleep 1000 & done; wait";

const isAlive = (pid: number) => fs.existsSync(`/proc/${pid}`);
const parentOf = (pid: number) =>
  Number(/^PPid:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
const childrenOf = (pid: number) =>
  fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);

const logFile = (id: string) =>
  path.join(world().engine.suite.paths.dockerdRoot, "containers", id, `${id}-json.log`);

/** Wait until the container has written more than it had at the time of the call. */
async function writesOn(id: string): Promise<void> {
  const size = fs.statSync(logFile(id)).size;
  await eventually(() => fs.statSync(logFile(id)).size > size + 500, { what: "more output in the log" });
}

test("a container lives through kill -9 of dockerd and containerd: no line is lost, stop and exit status work", async () => {
  const { suite } = world().engine;
  const id = await docker("run", "-d", "--name", "counter", world().busybox, "sh", "-c", COUNTER);
  const pid = initPid(id);
  await eventually(() => fs.existsSync(logFile(id)), { what: "the log" });
  for (const name of ["dockerd", "containerd"] as const) {
    await suite.kill(name, "SIGKILL");
    await writesOn(id);
    expect(initPid(id)).toBe(pid);
    await suite.start(name);
    expect(await docker("ps", "-q", "--no-trunc")).toBe(id);
    expect(await docker("exec", id, "echo", `after ${name}`)).toBe(`after ${name}`);
    await writesOn(id);
  }
  expect(await docker("stop", "counter")).toBe("counter");
  const lines = (await docker("logs", "counter")).split("\n");
  expect(lines.pop()).toBe("bye");
  expect(lines.length).toBeGreaterThan(50);
  expect(lines).toEqual(lines.map((_, index) => String(index + 1)));
  expect(await docker("ps", "-a", "--filter", "name=counter", "--format", "{{.Status}}")).toStartWith(
    "Exited (21) ",
  );
  expect(await docker("rm", "counter")).toBe("counter");
  expect(await world().engine.leaks()).toEqual([]);
});

test("both killed at once, the container ends meanwhile: its exit status is known after their start", async () => {
  const { suite } = world().engine;
  const id = await docker(
    "run",
    "-d",
    "--name",
    "ended",
    world().busybox,
    "sh",
    "-c",
    "read x < /proc/uptime; sleep 1; echo last; exit 13",
  );
  await suite.kill("dockerd", "SIGKILL");
  await suite.kill("containerd", "SIGKILL");
  await eventually(() => fs.readFileSync(logFile(id), "utf8").includes("last"), { what: "the last line" });
  await suite.start("containerd");
  await suite.start("dockerd");
  const status = () => docker("ps", "-a", "--filter", "name=ended", "--format", "{{.Status}}");
  await eventually(async () => (await status()).startsWith("Exited (13) "), { what: "its exit status" });
  expect(await docker("logs", "ended")).toBe("last");
  await docker("rm", "ended");
  expect(await world().engine.leaks()).toEqual([]);
});

test("a container whose shim is killed has ended for docker, whoever else was away, and nothing of it is left", async () => {
  const { suite } = world().engine;
  const away = [[], ["dockerd"], ["containerd"], ["dockerd", "containerd"]] as const;
  for (const names of away) {
    await docker("run", "-d", "--name", "lost", "--pid=host", world().busybox, "sh", "-c", BUSY);
    const init = Number(await docker("inspect", "-f", "{{.State.Pid}}", "lost"));
    const shim = parentOf(init);
    await eventually(() => childrenOf(init).length === 3, { what: "its children" });
    const pids = [init, ...childrenOf(init)];
    for (const name of names) await suite.kill(name, "SIGKILL");
    process.kill(shim, "SIGKILL");
    for (const name of names.toReversed()) await suite.start(name);
    const status = () => docker("ps", "-a", "--filter", "name=lost", "--format", "{{.Status}}");
    await eventually(async () => (await status()).startsWith("Exited (137) "), { what: "its end" });
    expect(await docker("ps", "-q")).toBe("");
    await eventually(() => !pids.some(isAlive), { what: "the end of its processes" });
    // It starts again.
    await docker("start", "lost");
    expect(await docker("exec", "lost", "echo", "back")).toBe("back");
    await docker("rm", "-f", "lost");
  }
  expect(await world().engine.leaks()).toEqual([]);
}, 120_000);

test("a stopped suite leaves its containers running, and the next start finds them", async () => {
  const { suite } = world().engine;
  const id = await docker("run", "-d", "--name", "kept", world().busybox, "sh", "-c", COUNTER);
  const pid = initPid(id);
  for (const name of ["dockerd", "registry-client", "containerd", "nats-server"] as const)
    if (suite.running(name)) await suite.restart(name);
  expect(initPid(id)).toBe(pid);
  await writesOn(id);
  expect(await docker("ps", "-q", "--no-trunc")).toBe(id);
  expect(await docker("rm", "-f", "kept")).toBe("kept");
  expect(await world().engine.leaks()).toEqual([]);
});
