import { afterEach, describe, expect, test } from "bun:test";
import fs from "node:fs";
import { eventually } from "@longshore/testkit";
import { initPid } from "./init-process.ts";
import { clis, useWorld } from "./world.ts";

const world = useWorld();
const real = (...args: string[]) => world().docker()(...args);
const inspect = async (id: string, format: string) => real("inspect", "-f", format, id);
const health = (id: string) => inspect(id, "{{.State.Health.Status}}");
const becomes = (id: string, status: string) =>
  eventually(async () => (await health(id)) === status, { what: `${id} is ${status}`, timeoutMs: 20_000 });

interface Look {
  ExitCode: number;
  Output: string;
  Start: string;
  End: string;
}
const looks = async (id: string) => JSON.parse(await inspect(id, "{{json .State.Health.Log}}")) as Look[];

/** Processes of the container besides its first. */
const others = async (id: string) =>
  (await real("top", id, "-eo", "pid,args"))
    .split("\n")
    .slice(1)
    .filter((row) => !row.includes("sleep 1000"));

afterEach(async () => {
  const ids = await real("ps", "-aq");
  if (ids !== "") await real("rm", "-f", ...ids.split("\n"));
});

describe.each(clis)("health checks by $name", (cli) => {
  const docker = (...args: string[]) => world().docker(cli)(...args);
  const run = (command: string, ...options: string[]) =>
    docker(
      ...["run", "-d", "--net", "none", "--health-cmd", command, ...options],
      ...[world().busybox, "sleep", "1000"],
    );

  test("healthy, unhealthy, healthy again: in ps, inspect and events", async () => {
    const id = await run(
      "echo looking; test -e /well",
      "--health-interval",
      "100ms",
      "--health-retries",
      "2",
    );
    expect(await docker("ps", "--format", "{{.Status}}")).toMatch(/^Up .* \((health: starting|unhealthy)\)$/);
    await becomes(id, "unhealthy");
    await docker("exec", id, "touch", "/well");
    await becomes(id, "healthy");
    expect(await docker("ps", "--format", "{{.Status}}")).toMatch(/^Up .* \(healthy\)$/);
    expect(await docker("ps", "-q", "--no-trunc", "--filter", "health=healthy")).toBe(id);
    expect(await docker("ps", "-q", "--filter", "health=unhealthy")).toBe("");
    await docker("exec", id, "rm", "/well");
    await becomes(id, "unhealthy");
    await eventually(async () => (await looks(id)).every(({ ExitCode }) => ExitCode === 1), {
      what: "5 looks",
    });
    const log = await looks(id);
    expect(log).toHaveLength(5);
    expect(log.every(({ Output }) => Output === "looking\n")).toBe(true);
    expect(log.every(({ Start, End }) => Date.parse(Start) < Date.parse(End))).toBe(true);
    expect(Number(await inspect(id, "{{.State.Health.FailingStreak}}"))).toBeGreaterThanOrEqual(5);
    const range = ["--since", "1", "--until", String(Math.ceil(Date.now() / 1000))];
    const filters = ["--filter", `container=${id}`, "--filter", "event=health_status"];
    const events = await real("events", ...range, ...filters, "--format", "{{.Action}}");
    const [unhealthy, healthy] = ["health_status: unhealthy", "health_status: healthy"];
    expect(events.split("\n")).toEqual([unhealthy, healthy, unhealthy]);
    // A probe leaves no exec behind.
    const execs = JSON.parse(await inspect(id, "{{json .ExecIDs}}")) as string[] | null;
    expect((execs ?? []).filter((exec) => exec.startsWith("health-")).length).toBeLessThanOrEqual(1);
    // Its state is new after a restart.
    await docker("exec", id, "touch", "/well");
    await docker("restart", "-t", "0", id);
    expect((await looks(id)).length).toBeLessThan(5);
    await becomes(id, "healthy");
  });

  test("a probe that takes too long is killed, and long output is cut", async () => {
    const slow = await run(
      "echo begun; exec sleep 500",
      ...["--health-interval", "50ms", "--health-timeout", "300ms", "--health-retries", "1"],
    );
    await becomes(slow, "unhealthy");
    const [first] = await looks(slow);
    expect(first).toMatchObject({ ExitCode: -1 });
    expect(first?.Output).toStartWith("Health check exceeded timeout (300ms)");
    await eventually(async () => (await others(slow)).length <= 1, { what: "at most one probe" });
    const long = await run("yes é | head -c 10001", "--health-interval", "50ms");
    await becomes(long, "healthy");
    const [cut] = await looks(long);
    expect(Buffer.byteLength(cut?.Output ?? "")).toBeLessThanOrEqual(4096);
    expect(cut?.Output).toEndWith("...");
    expect(cut?.Output).not.toContain("\ufffd");
  });

  test("none without a health check or with --no-healthcheck; a start period forgives", async () => {
    const none = await docker(
      "run",
      "-d",
      "--net",
      "none",
      "--no-healthcheck",
      world().busybox,
      "sleep",
      "1000",
    );
    expect(await inspect(none, "{{json .Config.Healthcheck}}")).toBe('{"Test":["NONE"]}');
    expect(await real("inspect", "-f", "{{json .State}}", none)).not.toContain("Health");
    const starting = await run(
      "test -e /well",
      ...["--health-interval", "50ms", "--health-retries", "1", "--health-start-period", "1h"],
      // Clients before 25 don't know of an interval of its own.
      ...(cli.name.includes("20.10") ? [] : ["--health-start-interval", "50ms"]),
    );
    if (cli.name.includes("20.10")) return;
    await eventually(async () => (await looks(starting)).length === 5, { what: "five looks" });
    expect(await health(starting)).toBe("starting");
    expect(await inspect(starting, "{{.State.Health.FailingStreak}}")).toBe("0");
    await docker("exec", starting, "touch", "/well");
    await becomes(starting, "healthy");
  });

  test("with longshore.restart-unhealthy=true a restart policy restarts what is unhealthy too", async () => {
    const label = ["--label", "longshore.restart-unhealthy=true"];
    const timing = ["--health-interval", "100ms", "--health-retries", "1", "--stop-timeout", "0"];
    const id = await run("test ! -e /sick", ...timing, ...label, "--restart", "on-failure");
    await becomes(id, "healthy");
    const pid = initPid(id);
    await docker("exec", id, "touch", "/sick");
    await eventually(async () => Number(await inspect(id, "{{.RestartCount}}")) >= 1, { what: "a restart" });
    expect(fs.existsSync(`/proc/${pid}`)).toBe(false);
    const { stderr } = await world()
      .docker(cli)
      .run(["create", ...label, world().busybox, "true"]);
    expect(stderr).toContain("does nothing without a restart policy");
  });
});

test("a health check goes on after the daemon was killed, and its probe is not left behind", async () => {
  const { suite } = world().engine;
  const id = await real(
    ...[
      "run",
      "-d",
      "--net",
      "none",
      "--health-cmd",
      "touch /probed; exec sleep 500",
      "--health-interval",
      "50ms",
    ],
    ...["--health-timeout", "1h", world().busybox, "sleep", "1000"],
  );
  await eventually(async () => (await others(id)).length === 1, { what: "a probe" });
  const [row = ""] = await others(id);
  const pid = Number(row.trim().split(/\s+/)[0]);
  await suite.kill("dockerd", "SIGKILL");
  await suite.start("dockerd");
  await eventually(() => !fs.existsSync(`/proc/${pid}`), { what: "the end of the old probe" });
  await eventually(async () => (await others(id)).length === 1, { what: "a new probe" });
  expect(await inspect(id, "{{.State.Running}} {{.State.Health.Status}}")).toBe("true starting");
});

test("nothing is left behind", async () => {
  expect(await world().engine.leaks()).toEqual([]);
});
