import { afterAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { findExecutable, mixedBinDir, realContainerd, realDockerd } from "@longshore/suite";
import { eventually } from "@longshore/testkit";
import { anyReal, binDir, skipped, useWorld, type World, type WorldOptions } from "./world.ts";

/** What must work whichever of the components are the real ones. */
function mainJob(world: () => World): void {
  test("run, exec, logs, stop, exit status", async () => {
    const docker = world().docker();
    expect(
      await docker.run(["run", "--rm", world().busybox, "sh", "-c", "echo out; echo err >&2; exit 3"]),
    ).toEqual({
      status: 3,
      stdout: "out\n",
      stderr: "err\n",
    });
    const piped = await docker.run(["run", "--rm", "-i", world().busybox, "cat"], { stdin: "through\n" });
    expect(piped).toEqual({ status: 0, stdout: "through\n", stderr: "" });
    const script = 'trap "exit 4" TERM; echo started; while :; do usleep 20000; done';
    const id = await docker("run", "-d", "--name", "swapped", world().busybox, "sh", "-c", script);
    expect(await docker("exec", id, "hostname")).toBe(id.slice(0, 12));
    expect((await docker.run(["exec", id, "sh", "-c", "exit 9"])).status).toBe(9);
    await eventually(async () => (await docker("logs", id)) === "started");
    await docker("stop", id);
    expect(await docker("ps", "-a", "--format", "{{.Status}}")).toStartWith("Exited (4) ");
    await docker("rm", id);
    const tty = await docker.run(["run", "--rm", "-t", world().busybox, "tty"], { terminal: true });
    expect(tty.stdout.replaceAll("\r", "")).toBe("/dev/pts/0\n");
    expect(tty.status).toBe(0);
  });

  test("a container lives through kill -9 of both daemons", async () => {
    const docker = world().docker();
    const { suite } = world().engine;
    const id = await docker(
      "run",
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

function swap(what: string, peer: unknown, options: () => WorldOptions): void {
  if (!peer || !anyReal) {
    skipped(`${what}: the peer is not installed, or can't run on this machine's cgroups`);
    test.skip(what, () => {});
    return;
  }
  describe(what, () => mainJob(useWorld(options())));
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
const [runc, crun, shim] = [system("runc"), findExecutable("crun"), system(SHIM)];
const containerd = realContainerd();
const dockerd = realDockerd();

swap("our engine on the real containerd, shim and runc", containerd, () => ({
  components: { ...(containerd && { containerd }) },
}));
swap("our engine with the real shim", shim, () => ({ binDir: binDirWith({ [SHIM]: shim ?? "" }) }));
swap("our engine with the real runc", runc, () => ({ binDir: binDirWith({ runc: runc ?? "" }) }));
/** Version 2 controllers beside version 1 ones, which crun refuses. */
const hybrid = fs.existsSync("/sys/fs/cgroup/unified");
swap("our engine with crun", !hybrid && crun, () => ({ binDir: binDirWith({ runc: crun ?? "" }) }));
swap("the real dockerd on our containerd, shim and runc", dockerd, () => ({
  components: { ...(dockerd && { dockerd }) },
  without: ["registry-client"],
  bridgeFirst: true,
  // It takes the files of network namespaces away a minute later, and keeps its data directory mounted on itself.
  ignoreLeaks: /\/run\/dockerd\/netns\/|\/lib\/dockerd$/,
}));
