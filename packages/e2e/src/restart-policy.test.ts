import { afterEach, describe, expect, test } from "bun:test";
import { eventually } from "@longshore/testkit";
import { initPid } from "./init-process.ts";
import { clis, useWorld } from "./world.ts";

const world = useWorld();
const real = (...args: string[]) => world().docker()(...args);

const inspect = async (id: string, format: string) => real("inspect", "-f", format, id);
const status = (id: string) => inspect(id, "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}");
const restartsOf = async (id: string) => Number(await inspect(id, "{{.RestartCount}}"));
const isRunning = async (id: string) => (await inspect(id, "{{.State.Status}}")) === "running";

/** A container that has failed so often that the next restart is some seconds away. */
async function waiting(id: string, restarts = 5): Promise<void> {
  await eventually(
    async () => (await restartsOf(id)) >= restarts && (await status(id)).startsWith("restarting"),
    { what: `${restarts} restarts`, timeoutMs: 30_000 },
  );
}

afterEach(async () => {
  const ids = await real("ps", "-aq");
  if (ids !== "") await real("rm", "-f", ...ids.split("\n"));
});

describe.each(clis)("restart policies by $name", (cli) => {
  const docker = (...args: string[]) => world().docker(cli)(...args);
  const attempt = (...args: string[]) => world().docker(cli).run(args);
  const run = (policy: string, script: string) =>
    docker("run", "-d", "--net", "none", "--restart", policy, world().busybox, "sh", "-c", script);

  test("on-failure:N restarts a failure N times, and what ends well not at all", async () => {
    const id = await run("on-failure:2", "echo run; exit 3");
    const well = await run("on-failure", "exit 0");
    await eventually(async () => (await status(id)) === "exited 3 2", { what: "two restarts" });
    expect(await docker("logs", id)).toBe("run\nrun\nrun");
    expect(await inspect(id, "{{json .HostConfig.RestartPolicy}}")).toBe(
      '{"Name":"on-failure","MaximumRetryCount":2}',
    );
    await eventually(async () => (await status(well)) === "exited 0 0", { what: "the end" });
    // Started by hand, it has all its restarts again.
    await docker("start", id);
    await eventually(async () => (await docker("logs", id)).split("\n").length === 6, { what: "two more" });
  });

  test("waiting for a restart: ps, inspect, events, exec, stop, start, rm", async () => {
    const id = await run("always", "exit 9");
    await waiting(id);
    expect(await docker("ps", "--filter", "status=restarting", "--format", "{{.Status}}")).toMatch(
      /^Restarting \(9\) .* ago$/,
    );
    expect(await inspect(id, "{{.State.Running}} {{.State.Restarting}} {{.State.Pid}}")).toBe("true true 0");
    for (const refused of [
      ["exec", id, "true"],
      ["pause", id],
      ["attach", id],
    ]) {
      const { status: code, stderr } = await attempt(...refused);
      expect(code).not.toBe(0);
      expect(stderr).toMatch(/(is|a) restarting.* wait until/);
    }
    expect((await attempt("rm", id)).stderr).toMatch(/container is restarting|restarting container/);
    expect(await docker("start", id)).toBe(id);
    const wait = docker("wait", id);
    expect(await docker("stop", "-t", "30", id)).toBe(id);
    expect(await wait).toBe("9");
    expect(await status(id)).toMatch(/^exited 9 /);
    const until = String(Math.ceil(Date.now() / 1000));
    const range = ["--since", "1", "--until", until, "--filter", `container=${id}`];
    const actions = await real("events", ...range, "--format", "{{.Action}}");
    expect(actions).toContain("die\nstart");
    expect(actions.split("\n").at(-1)).toBe("stop");
    await real("start", id);
    await waiting(id, 2);
    expect(await docker("rm", "-f", id)).toBe(id);
    expect(await docker("ps", "-aq")).toBe("");
  });

  test("a kill or a stop is no reason to restart; SIGHUP's end is", async () => {
    const id = await run(
      "always",
      "trap 'exit 4' HUP; trap 'exit 5' TERM; echo up; while :; do usleep 20000; done",
    );
    const up = (times: number) =>
      eventually(async () => (await docker("logs", id)) === Array(times).fill("up").join("\n"), {
        what: "up",
      });
    await up(1);
    await docker("kill", "-s", "HUP", id);
    await up(2);
    expect(await restartsOf(id)).toBe(1);
    await docker("kill", "-s", "TERM", id);
    await eventually(async () => (await status(id)) === "exited 5 1", { what: "the end" });
    await docker("restart", id);
    await up(3);
    await docker("kill", id);
    expect(await status(id)).toBe("exited 137 0");
  });

  test("update changes the policy, --rm goes with none, and a policy is checked", async () => {
    const id = await run("no", "exit 1");
    await eventually(async () => (await status(id)) === "exited 1 0", { what: "the end" });
    expect(await docker("update", "--restart", "on-failure:1", id)).toBe(id);
    await docker("start", id);
    await eventually(async () => (await status(id)) === "exited 1 1", { what: "a restart" });
    const forever = await run("always", "exit 2");
    await waiting(forever, 2);
    await docker("update", "--restart", "no", forever);
    await eventually(async () => (await status(forever)).startsWith("exited 2"), {
      what: "no more restarts",
    });
    expect((await attempt("update", "--restart", "sometimes", id)).stderr).toContain(
      "unknown policy 'sometimes'",
    );
    const both = await attempt("run", "--rm", "--restart", "always", world().busybox, "true");
    expect(both.status).toBe(125);
    expect(both.stderr).toContain("--restart and --rm");
    const removed = await docker("run", "-d", "--rm", "--net", "none", world().busybox, "sleep", "1000");
    expect((await attempt("update", "--restart", "always", removed)).stderr).toContain(
      "Restart policy cannot be updated because AutoRemove is enabled",
    );
  });
});

test("a daemon's start starts what was not stopped, whether it was killed or ended; a wait goes on", async () => {
  const { suite } = world().engine;
  const run = (policy: string, script: string) =>
    real("run", "-d", "--net", "none", "--restart", policy, world().busybox, "sh", "-c", script);
  const always = await run("always", "sleep 1000");
  const unless = await run("unless-stopped", "sleep 1000");
  const stopped = await run("unless-stopped", "sleep 1000");
  const failing = await run("on-failure", "exit 6");
  const created = await real("create", "--restart", "always", world().busybox, "true");
  for (const how of ["SIGKILL", "SIGTERM"] as const) {
    // Stopped by hand: `always` comes back with the daemon, `unless-stopped` doesn't; what the daemon didn't see end does.
    await real("stop", "-t", "0", always, stopped);
    await waiting(failing, 2);
    const pid = initPid(unless);
    await suite.kill("dockerd", how);
    await eventually(() => suite.pid("dockerd") === undefined, { what: "dockerd's end" });
    process.kill(pid, "SIGKILL");
    await suite.start("dockerd");
    const before = await restartsOf(failing);
    await eventually(async () => (await isRunning(always)) && (await isRunning(unless)), { what: "running" });
    expect(initPid(unless)).not.toBe(pid);
    await eventually(async () => (await restartsOf(failing)) > before, {
      what: "another restart",
      timeoutMs: 20_000,
    });
    expect(await status(stopped)).toStartWith("exited 137");
    expect(await status(created)).toBe("created 0 0");
    await real("start", stopped);
  }
}, 60_000);

test("nothing is left behind", async () => {
  expect(await world().engine.leaks()).toEqual([]);
});
