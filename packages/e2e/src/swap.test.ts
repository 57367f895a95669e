import { afterAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { mixedBinDir, realContainerd, realDockerd } from "@longshore/suite";
import { eventually, type TempDir, tempDir } from "@longshore/testkit";
import { anyReal, binDir, skipped, useWorld, type World, type WorldOptions } from "./world.ts";

/** What must work whichever of the components are the real ones. `flags` are given to each `docker run`. */
function mainJob(world: () => World, ...flags: string[]): void {
  test("run, exec, logs, stop, exit status", async () => {
    const docker = world().docker();
    const streams = "echo out; echo err >&2; exit 3";
    expect(await docker.run(["run", ...flags, "--rm", world().busybox, "sh", "-c", streams])).toEqual({
      status: 3,
      stdout: "out\n",
      stderr: "err\n",
    });
    const piped = await docker.run(["run", ...flags, "--rm", "-i", world().busybox, "cat"], {
      stdin: "through\n",
    });
    expect(piped).toEqual({ status: 0, stdout: "through\n", stderr: "" });
    const script = 'trap "exit 4" TERM; echo started; while :; do usleep 20000; done';
    const id = await docker("run", ...flags, "-d", "--name", "swapped", world().busybox, "sh", "-c", script);
    expect(await docker("exec", id, "hostname")).toBe(id.slice(0, 12));
    expect((await docker.run(["exec", id, "sh", "-c", "exit 9"])).status).toBe(9);
    await eventually(async () => (await docker("logs", id)) === "started");
    await docker("stop", id);
    expect(await docker("ps", "-a", "--format", "{{.Status}}")).toStartWith("Exited (4) ");
    await docker("rm", id);
    const tty = await docker.run(["run", ...flags, "--rm", "-t", world().busybox, "tty"], { terminal: true });
    expect(tty.stdout.replaceAll("\r", "")).toBe("/dev/pts/0\n");
    expect(tty.status).toBe(0);
  });

  test("a container lives through kill -9 of both daemons", async () => {
    const docker = world().docker();
    const { suite } = world().engine;
    const id = await docker(
      "run",
      ...flags,
      "-d",
      world().busybox,
      "sh",
      "-c",
      'trap "exit 8" TERM; while :; do usleep 20000; done',
    );
    await suite.kill("dockerd", "SIGKILL");
    await suite.kill("containerd", "SIGKILL");
    await suite.start("containerd");
    await suite.start("dockerd");
    expect(await docker("exec", id, "echo", "alive")).toBe("alive");
    await docker("stop", id);
    expect(await docker("ps", "-a", "--format", "{{.Status}}")).toStartWith("Exited (8) ");
    await docker("rm", id);
    expect(await world().engine.leaks()).toEqual([]);
  });
}

function swap(what: string, missing: string | undefined, tests: () => void): void {
  const reason = missing ?? (anyReal ? undefined : "no real docker client is installed");
  if (reason !== undefined) {
    skipped(`${what}: ${reason}`);
    test.skip(what, () => {});
    return;
  }
  describe(what, tests);
}

const mixed: string[] = [];
afterAll(() => {
  for (const dir of mixed) fs.rmSync(dir, { recursive: true, force: true });
});

/** Our executables with one replaced, beside ours: hard links don't cross file systems. */
function binDirWith(replace: Record<string, string>): string {
  const dir = fs.mkdtempSync(path.join(path.dirname(binDir), "mixed-"));
  mixed.push(dir);
  return mixedBinDir({ from: binDir, dir, replace });
}

const SHIM = "containerd-shim-runc-v2";
const system = (name: string) =>
  ["/usr/sbin", "/usr/bin"].map((dir) => `${dir}/${name}`).find((file) => fs.existsSync(file));
const [runc, shim] = [system("runc"), system(SHIM)];
const containerd = realContainerd();
const dockerd = realDockerd();
const absent = (peer: unknown) => (peer ? undefined : "the peer is not installed");

swap("our engine on the real containerd, shim and runc", absent(containerd), () => {
  mainJob(useWorld({ components: { ...(containerd && { containerd }) } }));
});
swap("our engine with the real shim", absent(shim), () => {
  mainJob(useWorld(() => ({ binDir: binDirWith({ [SHIM]: shim ?? "" }) })));
});
swap("our engine with the real runc", absent(runc), () => {
  mainJob(useWorld(() => ({ binDir: binDirWith({ runc: runc ?? "" }) })));
});
/** What the real dockerd can and ours can't yet: all that its containerd and shim have to do for it. */
function foreignJob(world: () => World): void {
  const script = 'trap "echo bye; exit 4" TERM; i=0; while :; do i=$((i + 1)); echo $i; usleep 20000; done';

  test("follow, attach, exec on a terminal, top, stats, pause, update, kill, events", async () => {
    const docker = world().docker();
    const since = String(Math.floor(Date.now() / 1000));
    const id = await docker("run", "-d", "--memory", "64m", world().busybox, "sh", "-c", script);
    const followed = docker.run(["logs", "-f", id]);
    const typed = await docker.run(["exec", "-it", id, "sh"], { terminal: true, stdin: "tty; exit 6\n" });
    expect(typed.status).toBe(6);
    expect(typed.stdout).toContain("/dev/pts/0");
    expect(await docker("top", id)).toContain("usleep");
    expect(await docker("stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", id)).toMatch(
      /^[1-9][\d.]*[KM]iB \/ 64MiB [1-9]/,
    );
    await docker("update", "--memory", "128m", "--memory-swap", "256m", id);
    expect(await docker("stats", "--no-stream", "--format", "{{.MemUsage}}", id)).toContain(" / 128MiB");
    await docker("pause", id);
    expect(await docker("ps", "--format", "{{.Status}}")).toContain("(Paused)");
    await docker("unpause", id);
    await docker("kill", "-s", "TERM", id);
    const { stdout } = await followed;
    const lines = stdout.trim().split("\n");
    expect(lines.pop()).toBe("bye");
    expect(lines).toEqual(lines.map((_, index) => String(index + 1)));
    expect(await docker("wait", id)).toBe("4");
    const filter = ["--filter", `container=${id}`, "--format", "{{.Action}}"];
    const happened = async () => {
      // The client cuts the end down to a whole second.
      const events = await docker("events", "--since", since, "--until", "0s", ...filter);
      return events.split("\n").map((action) => action.split(":")[0]);
    };
    await eventually(async () => (await happened()).includes("die"), { what: "the event of its end" });
    const actions = await happened();
    for (const action of [
      "create",
      "start",
      "exec_create",
      "exec_start",
      "exec_die",
      "pause",
      "unpause",
      "kill",
      "die",
    ])
      expect(actions).toContain(action);
    await docker("rm", id);
  });

  test("attach, out of memory, copying, committing, a restart policy", async () => {
    const docker = world().docker();
    const tty = await docker("run", "-dit", world().busybox, "sh");
    const attached = await docker.run(["attach", tty], {
      terminal: true,
      stdin: "echo $((6 * 7)); exit 5\n",
    });
    expect([attached.stdout.includes("42"), attached.status]).toEqual([true, 5]);
    const oom = await docker(
      "run",
      "-d",
      "--memory",
      "16m",
      world().busybox,
      "sh",
      "-c",
      "sleep 0.5; exec tail /dev/zero",
    );
    expect(await docker("wait", oom)).toBe("137");
    expect(await docker("inspect", "--format", "{{.State.OOMKilled}}", oom)).toBe("true");
    const made = await docker("run", "-d", world().busybox, "sh", "-c", "echo kept > /file");
    await docker("wait", made);
    expect(await docker("diff", made)).toContain("A /file");
    const image = await docker("commit", made);
    expect(await docker("run", "--rm", image, "cat", "/file")).toBe("kept");
    const again = await docker("run", "-d", "--restart", "on-failure:2", world().busybox, "false");
    await eventually(
      async () =>
        (await docker("inspect", "--format", "{{.State.Status}} {{.RestartCount}}", again)) === "exited 2",
      { what: "two restarts" },
    );
    await docker("rm", tty, oom, made, again);
    await docker("rmi", image);
  });

  test("a restart of dockerd: the container is adopted, its terminal and its log go on; one that ended meanwhile has its status", async () => {
    const docker = world().docker();
    const { suite } = world().engine;
    const tty = await docker("run", "-dit", world().busybox, "sh");
    const ends = await docker(
      "run",
      "-d",
      world().busybox,
      "sh",
      "-c",
      'trap "exit 9" TERM; while :; do usleep 20000; done',
    );
    const pid = Number(await docker("inspect", "--format", "{{.State.Pid}}", ends));
    await suite.kill("dockerd", "SIGTERM");
    await eventually(() => !suite.running("dockerd"));
    process.kill(pid, "SIGTERM");
    await eventually(() => !fs.existsSync(`/proc/${pid}`));
    await suite.start("dockerd");
    expect(await docker("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", ends)).toBe(
      "exited 9",
    );
    const attached = await docker.run(["attach", tty], {
      terminal: true,
      stdin: "echo $((6 * 7)); exit 5\n",
    });
    expect([attached.stdout.includes("42"), attached.status]).toEqual([true, 5]);
    expect(await docker("logs", tty)).toContain("42");
    await docker("rm", tty, ends);
    expect(await world().engine.leaks()).toEqual([]);
  });
}

/** The real dockerd as a part of a suite. */
const realEngine = (components: WorldOptions["components"]): WorldOptions => ({
  components: { ...(dockerd && { dockerd }), ...components },
  without: ["registry-client"],
  bridgeFirst: true,
  // It takes the files of network namespaces away a minute later, and keeps its data directory mounted on itself.
  ignoreLeaks: /\/run\/dockerd\/netns\/|\/lib\/dockerd$/,
});
swap("the real dockerd on our containerd, shim and runc", absent(dockerd), () => {
  const world = useWorld(realEngine({}));
  mainJob(world);
  foreignJob(world);
});
swap("the real dockerd and containerd with our shim and runc", absent(dockerd && containerd), () => {
  const ourShim = realContainerd(binDir);
  const world = useWorld(realEngine({ ...(ourShim && { containerd: ourShim }) }));
  mainJob(world);
  foreignJob(world);
});

/** Tests of `dockerd --add-runtime other=FILE` and `docker run --runtime other`, where FILE notes each call before it becomes `runtime`. */
function addedRuntime(runtime: string, ...flags: string[]): void {
  let dir: TempDir | undefined;
  let file = "";
  let calls = "";
  const world = useWorld(() => {
    dir = tempDir();
    file = path.join(dir.path, "other");
    calls = path.join(dir.path, "calls");
    fs.writeFileSync(file, `#!/bin/sh\necho "$@" >>${calls}\nexec ${runtime} "$@"\n`, { mode: 0o755 });
    fs.writeFileSync(calls, "");
    return { components: { dockerd: { extraArgs: ["--add-runtime", `other=${file}`] } } };
  });
  afterAll(() => dir?.[Symbol.dispose]());

  test("only containers that ask for it get it", async () => {
    const docker = world().docker();
    await docker("run", "--rm", world().busybox, "true");
    expect(fs.readFileSync(calls, "utf8")).toBe("");
    await docker("run", "--rm", "--name", "asks", "--runtime", "other", ...flags, world().busybox, "true");
    // What --rm leaves to be taken apart is so after the client has its answer.
    await eventually(() => / create .* start .* delete /s.test(fs.readFileSync(calls, "utf8")));
  });
  test("docker info and docker inspect name it; an unknown one is refused", async () => {
    const docker = world().docker();
    expect(await docker("info", "--format", '{{.DefaultRuntime}} {{(index .Runtimes "other").Path}}')).toBe(
      `runc ${file}`,
    );
    await docker("create", "--name", "asks", "--runtime", "other", world().busybox);
    expect(await docker("inspect", "--format", "{{.HostConfig.Runtime}}", "asks")).toBe("other");
    await docker("rm", "asks");
    const { status, stderr } = await docker.run(["run", "--runtime", "nosuch", world().busybox]);
    expect(status).toBe(125);
    expect(stderr).toContain("unknown or invalid runtime name: nosuch");
  });
  mainJob(world, "--runtime", "other", ...flags);
}
swap("dockerd --add-runtime with the real runc", absent(runc), () => addedRuntime(runc ?? ""));
