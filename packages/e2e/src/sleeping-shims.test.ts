/** Containers at rest, whose shims sleep. */
import { afterAll, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { eventually, tempDir } from "@longshore/testkit";
import { initPid } from "./init-process.ts";
import { useWorld } from "./world.ts";

const temp = tempDir();
afterAll(() => temp[Symbol.dispose]());

const world = useWorld(() => {
  const config = path.join(temp.path, "containerd.toml");
  fs.writeFileSync(config, 'version = 2\n[plugins."io.containerd.runtime.v2.task"]\nshim_sleep = "100ms"\n');
  return { components: { containerd: { extraArgs: ["--config", config] } } };
});
const docker = (...args: string[]) => world().docker()(...args);

/** The parent of a container's first process. */
const shimOf = (id: string) =>
  Number(/^PPid:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${initPid(id)}/status`, "utf8"))?.[1]);
const sleeps = (pid: number) => fs.readlinkSync(`/proc/${pid}/exe`).startsWith("/memfd:");
const asleep = (...ids: string[]) =>
  eventually(() => ids.every((id) => sleeps(shimOf(id))), { what: "sleeping shims" });

test("nothing is lost over kills of both daemons while the shims sleep", async () => {
  const { suite } = world().engine;
  const run = (name: string, ...script: string[]) =>
    docker("run", "-d", "-i", "--name", name, world().busybox, "sh", "-c", ...script);
  const [stays, ends] = await Promise.all([
    run("stays", "echo begun; read -r line; echo $line; exit 3"),
    run("ends", "echo begun; trap 'echo over; exit 4' USR1; sleep 1000 & wait"),
  ]);
  const shims = [stays, ends].map(shimOf);
  await asleep(stays, ends);
  const seen = await docker("exec", "stays", "sh", "-c", "ps | grep -c 'read -r'");
  expect(Number(seen)).toBeGreaterThan(0);
  await Promise.all([suite.kill("dockerd", "SIGKILL"), suite.kill("containerd", "SIGKILL")]);
  expect([stays, ends].map(shimOf)).toEqual(shims);
  // The end of containerd's connection wakes them.
  await asleep(stays, ends);
  process.kill(initPid(ends), "SIGUSR1");
  await eventually(() => !isAlive(ends), { what: "the end of one" });
  await suite.start("containerd");
  await suite.start("dockerd");
  await eventually(
    async () =>
      (await docker("inspect", "--format", "{{.State.ExitCode}} {{.State.Running}}", ends)) === "4 false",
    { what: "its exit status" },
  );
  expect(await docker("logs", ends)).toBe("begun\nover");
  expect(await docker("inspect", "--format", "{{.State.Running}}", stays)).toBe("true");
  await asleep(stays);
  expect((await world().docker().run(["attach", stays], { stdin: "the line\n" })).status).toBe(3);
  expect(await docker("wait", stays)).toBe("3");
  expect(await docker("logs", stays)).toBe("begun\nthe line");
  await docker("rm", stays, ends);
  expect(await world().engine.leaks()).toEqual([]);
}, 60_000);

function isAlive(id: string): boolean {
  try {
    return initPid(id) > 0;
  } catch {
    return false;
  }
}

test("a paused container, its statistics, its end by stop and by force", async () => {
  const id = await docker("run", "-d", world().busybox, "sh", "-c", "trap 'exit 7' TERM; sleep 1000 & wait");
  await docker("pause", id);
  await asleep(id);
  expect(await docker("ps", "--filter", `id=${id}`, "--format", "{{.Status}}")).toEndWith("(Paused)");
  await docker("unpause", id);
  expect(await docker("stats", "--no-stream", "--format", "{{.PIDs}}", id)).toBe("2");
  await asleep(id);
  expect(await docker("top", id, "-o", "pid,args")).toContain("sleep 1000");
  await docker("stop", id);
  expect(await docker("inspect", "--format", "{{.State.ExitCode}}", id)).toBe("7");
  await docker("start", id);
  await asleep(id);
  await docker("rm", "-f", id);
  expect(await world().engine.leaks()).toEqual([]);
}, 60_000);
