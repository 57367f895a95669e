import { afterEach, describe, expect, test } from "bun:test";
import { eventually } from "@longshore/testkit";
import { clis, useWorld } from "./world.ts";

const world = useWorld();
const real = (...args: string[]) => world().docker()(...args);

afterEach(async () => {
  const ids = await real("ps", "-aq");
  if (ids !== "") await real("rm", "-f", ...ids.split("\n"));
});

describe.each(clis)("use of resources by $name", (cli) => {
  const docker = (...args: string[]) => world().docker(cli)(...args);

  test("stats: percentages, memory, network and processes are right; a stopped container has none", async () => {
    const script = "head -c 20000000 /dev/zero > /dev/shm/x; while :; do :; done";
    const busy = await docker(
      ...["run", "-d", "--cpus", "0.5", "--memory", "100m", "--name", "busy"],
      ...[world().busybox, "sh", "-c", script],
    );
    const idle = await docker("run", "-d", "--net", "none", world().busybox, "sleep", "1000");
    await eventually(async () => (await docker("exec", busy, "ls", "/dev/shm")) === "x");
    const format =
      "{{.Name}}|{{.CPUPerc}}|{{.MemUsage}}|{{.MemPerc}}|{{.NetIO}}|{{.PIDs}}|{{.ID}}|{{.BlockIO}}";
    const lines = async (...names: string[]) =>
      (await docker("stats", "--no-stream", "--format", format, ...names))
        .split("\n")
        .map((l) => l.split("|"));
    const [row = []] = await lines(busy);
    expect(row[0]).toBe("busy");
    // Half a processor, give or take what the machine is doing besides.
    const percent = Number.parseFloat(row[1] ?? "");
    expect(percent).toBeGreaterThan(15);
    expect(percent).toBeLessThan(65);
    const [, used = "", limit] = /^([0-9.]+)MiB \/ (\S+)$/.exec(row[2] ?? "") ?? [];
    expect(Number(used)).toBeGreaterThan(19);
    expect(Number(used)).toBeLessThan(40);
    expect(limit).toBe("100MiB");
    expect(Number.parseFloat(row[3] ?? "")).toBeCloseTo(Number(used), 0);
    expect(row[4]).toMatch(/^[0-9.]+k?B \/ [0-9.]+k?B$/);
    expect(row[5]).toBe("1");
    expect(busy).toStartWith(row[6] ?? "-");
    expect(row[7]).toMatch(/^[0-9.]+[kM]?B \/ [0-9.]+[kM]?B$/);
    const all = await lines();
    expect(all.map(([name]) => name)).toContain("busy");
    expect(all).toHaveLength(2);
    await docker("stop", "-t", "0", idle);
    const [stopped = []] = await lines(idle);
    expect(stopped[1]).toBe("0.00%");
    expect(stopped[5]).toBe("0");
  });

  test("--init passes signals on and reaps orphans, without it nobody does", async () => {
    // Not by top, which asks the cgroup: a zombie has left it.
    const zombies = async (id: string) =>
      (await real("exec", id, "sh", "-c", "cat /proc/[0-9]*/stat"))
        .split("\n")
        .filter((line) => line.includes(") Z ")).length;
    const run = (...options: string[]) =>
      docker("run", "-d", "--net", "none", ...options, world().busybox, "sleep", "1000");
    const [id, without] = [await run("--init"), await run()];
    expect(await docker("exec", id, "cat", "/proc/1/cmdline")).toStartWith("/sbin/docker-init\0--\0sleep");
    expect(await real("inspect", "-f", "{{.HostConfig.Init}}", id)).toBe("true");
    for (const one of [id, without]) await docker("exec", one, "sh", "-c", "(sleep 0.2 &)");
    await eventually(async () => (await zombies(without)) === 1, { what: "a zombie" });
    await eventually(async () => (await docker("top", id)).split("\n").length === 3, { what: "the end" });
    expect(await zombies(id)).toBe(0);
    await docker("stop", id);
    expect(await real("inspect", "-f", "{{.State.ExitCode}}", id)).toBe("143");
    const refused = await world()
      .docker(cli)
      .run(["run", "--rm", "--init", "--pid", "host", world().busybox, "true"]);
    expect(refused.status).toBe(125);
    expect(refused.stderr).toContain("HostConfig.Init needs a pid namespace");
  });

  test("top takes arguments of ps, and an OOM kill is told", async () => {
    const id = await docker("run", "-d", "--net", "none", world().busybox, "sleep", "1234");
    for (const args of [[], ["aux"], ["-o", "pid,comm"], ["-eo", "pid,args"], ["axo", "pid,ppid,cmd"]]) {
      expect(await docker("top", id, ...args)).toMatch(/sleep/);
    }
    expect((await world().docker(cli).run(["top", id, "-o", "comm"])).stderr).toContain(
      "Couldn't find PID field in ps output",
    );
    const hog = await docker(
      ...["run", "-d", "--net", "none", "-m", "20m", "--memory-swap", "20m", world().busybox],
      ...["sh", "-c", "head -c 100000000 /dev/zero | tail"],
    );
    await eventually(async () => (await real("inspect", "-f", "{{.State.OOMKilled}}", hog)) === "true", {
      what: "OOMKilled",
    });
  });

  test("events: past ones by range, filter and template, and those to come", async () => {
    const id = await docker("run", "-d", "--net", "none", "--name", "told", world().busybox, "true");
    await docker("wait", id);
    const range = [
      "--since",
      "1",
      "--until",
      String(Math.ceil(Date.now() / 1000)),
      "--filter",
      `container=${id}`,
    ];
    const format = ["--format", "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}"];
    expect((await docker("events", ...range, ...format)).split("\n").slice(0, 3)).toEqual([
      "container create told",
      "container start told",
      "container die told",
    ]);
    expect(await docker("events", ...range, "--filter", "event=die")).toMatch(
      /^20\S+T\S+\.\d{9}\S* container die [0-9a-f]{64} \(execDuration=\d+, exitCode=0, image=\S+, name=told\)$/,
    );
    // The beginning of an id or a name will do; and what happens to a container, happens to one of its image.
    const short = [...range.slice(0, 4), "--filter", `container=${id.slice(0, 8)}`, "--filter", "event=die"];
    const image = ["--filter", `image=${world().busybox.replace(/:1$/, "")}`];
    expect(await docker("events", ...short, ...image, ...format)).toBe("container die told");
    expect(await docker("events", ...short, "--filter", "image=other", ...format)).toBe("");
    const named = [...range.slice(0, 4), "--filter", "container=tol", "--filter", "event=die"];
    expect((await docker("events", ...named, ...format)).split("\n").at(-1)).toBe("container die told");
  });
});

test("nothing is left behind", async () => {
  expect(await world().engine.leaks()).toEqual([]);
});
