import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { findExecutable, realContainerd } from "@longshore/suite";
import { type CommandResult, eventually, run, type TempDir, tempDir } from "@longshore/testkit";
import { connect, type NatsConnection } from "nats";
import { crunWay } from "./crun.ts";
import { type Combination, readCombinations, readRuntimes, type ShimRuntime } from "./swap-table.ts";
import { isHybrid, runUnified } from "./unified.ts";
import { anyReal, binDir, openWorld, skipped, type World } from "./world.ts";

/*
 * {our, real} containerd × {our, real} shim × {our runc, real runc, crun} under our dockerd, by a real client, made as README says. One engine
 * for each containerd. Where crun can't live with the machine's cgroups, its lines are run by this file once more, in a mount namespace.
 */
const SHIM = "containerd-shim-runc-v2";
const inNamespace = process.env.LONGSHORE_MATRIX === "crun";
const find = (name: string) =>
  ["/usr/sbin", "/usr/bin"].map((dir) => `${dir}/${name}`).find((file) => fs.existsSync(file));
const ctr = findExecutable("ctr");
const containerd = realContainerd();
const crun = crunWay(find("crun"));
const elsewhere = crun.refusal !== undefined && find("crun") !== undefined && isHybrid && !inNamespace;

const combinations = readCombinations();
const here = combinations.filter(({ runtime }) =>
  inNamespace ? runtime === "crun" : !(elsewhere && runtime === "crun"),
);

function missing({ containerd: daemon, shim, runtime }: Combination): string | undefined {
  if (!anyReal) return "no real docker client is installed";
  if (daemon === "real" && !containerd) return "containerd is not installed";
  if (shim === "real" && !find(SHIM)) return `${SHIM} is not installed`;
  if (runtime === "real" && !find("runc")) return "runc is not installed";
  return runtime === "crun" ? crun.refusal : undefined;
}

interface Envelope {
  topic: string;
  event: { container_id?: string; id?: string; exit_status?: number };
}

let dir: TempDir;
let second: Promise<CommandResult> | undefined;
const worlds = new Map<string, Promise<World>>();

function open(which: Combination["containerd"]): Promise<World> {
  const extraArgs = ["--config-file", path.join(dir.path, "daemon.json")];
  const components = { dockerd: { extraArgs }, ...(which === "real" && containerd && { containerd }) };
  return openWorld({ components });
}

/** README's configuration, where each runtime notes its calls before it becomes itself. */
function writeConfig(): void {
  const noting = ([name, { runtimeType, options }]: [string, ShimRuntime]) => {
    const file = path.join(dir.path, `${name}.sh`);
    const script = `#!/bin/sh\necho "$*" >>${dir.path}/${name}.calls\nexec ${options.BinaryName} "$@"\n`;
    fs.writeFileSync(file, script, { mode: 0o755 });
    return [name, { runtimeType, options: { BinaryName: file } }];
  };
  const runtimes = Object.fromEntries(Object.entries(readRuntimes(binDir, find)).map(noting));
  fs.writeFileSync(path.join(dir.path, "daemon.json"), JSON.stringify({ runtimes }));
}

beforeAll(async () => {
  dir = tempDir();
  writeConfig();
  if (elsewhere) {
    const again = [process.execPath, "test", "--timeout=60000", import.meta.path];
    second = runUnified(again, { env: { LONGSHORE_MATRIX: "crun" }, timeoutMs: 120_000 });
    second.catch(() => {}); // awaited by its tests
  }
  for (const row of here) {
    if (missing(row) === undefined && !worlds.has(row.containerd))
      worlds.set(row.containerd, open(row.containerd));
  }
  await Promise.all(worlds.values());
});
afterAll(async () => {
  await second?.catch(() => {});
  await Promise.all([...worlds.values()].map(async (world) => (await world)[Symbol.asyncDispose]()));
  dir?.[Symbol.dispose]();
}, 130_000);

test("README has all twelve, and dockerd takes its configuration file", async () => {
  const all = ["ours", "real"].flatMap((a) =>
    ["ours", "real"].flatMap((b) => ["ours", "real", "crun"].map((c) => `${a} ${b} ${c}`)),
  );
  expect(combinations.map((row) => `${row.containerd} ${row.shim} ${row.runtime}`)).toEqual(all);
  const validated = await run([
    ...[path.join(binDir, "dockerd"), "--validate", ...(combinations[0]?.dockerd ?? [])],
    ...["--config-file", path.join(dir.path, "daemon.json")],
  ]);
  expect(validated).toMatchObject({ status: 0, stderr: "configuration OK\n" });
});

for (const which of ["ours", "real"] as const) {
  const rows = here.filter((row) => row.containerd === which);
  const able = rows.filter((row) => missing(row) === undefined);
  for (const row of rows) {
    const reason = missing(row);
    if (reason === undefined) continue;
    skipped(`${row.name}: ${reason}`);
    test.skip(row.name, () => {});
  }
  if (able.length > 0)
    describe(`on ${which === "ours" ? "our" : "the real"} containerd`, () => tests(which, able));
}

function tests(which: Combination["containerd"], rows: Combination[]): void {
  let world: World;
  let client: NatsConnection;
  /** Exit status by container, of init processes; every message counts. */
  const exits: { id: string; status: number | undefined }[] = [];
  const docker = (...args: string[]) => world.docker()(...args);
  const flagsOf = ({ run: flags, runtime }: Combination) => [
    ...flags,
    ...(runtime === "crun" ? (crun.flags ?? []) : []),
  ];
  const live = new Map<string, string>();

  beforeAll(async () => {
    world = await (worlds.get(which) ?? Promise.reject(new Error("not opened")));
    const { natsUrl, paths } = world.engine.suite;
    client = await connect({ servers: natsUrl, token: fs.readFileSync(paths.natsTokenFile, "utf8").trim() });
    const subscription = client.subscribe("longshore.events.*.moby.tasks.exit.*");
    void (async () => {
      for await (const message of subscription) {
        const { container_id: id = "", id: process, exit_status: status } = message.json<Envelope>().event;
        if (process === id) exits.push({ id, status });
      }
    })();
    await client.flush();
  });
  afterAll(() => client?.close());

  /** A container's end was told on NATS, once, with this status. */
  async function told(id: string, status: number): Promise<void> {
    await eventually(() => exits.some((exit) => exit.id === id), { what: `an exit event of ${id}` });
    expect(exits.filter((exit) => exit.id === id)).toEqual([{ id, status }]);
  }

  test.each(rows.map((row) => [row.name, row] as const))("%s", async (_, row) => {
    const flags = flagsOf(row);
    const { busybox } = world;
    const streams = ["sh", "-c", "echo out; echo err >&2; exit 3"];
    expect(await world.docker().run(["run", ...flags, "--rm", busybox, ...streams])).toEqual({
      status: 3,
      stdout: "out\n",
      stderr: "err\n",
    });

    const script = 'trap "echo bye; exit 4" TERM; echo started; while :; do usleep 20000; done';
    const id = await docker("run", ...flags, "-d", busybox, "sh", "-c", script);
    const [, name = ""] = row.run;
    expect(fs.readFileSync(path.join(dir.path, `${name}.calls`), "utf8")).toMatch(
      new RegExp(`\\bcreate .*${id}`),
    );
    expect(parentOf(await docker("inspect", "--format", "{{.State.Pid}}", id))).toBe(
      row.shim === "ours" ? path.join(binDir, SHIM) : fs.realpathSync(find(SHIM) ?? ""),
    );
    expect(await docker("exec", id, "hostname")).toBe(id.slice(0, 12));
    expect((await world.docker().run(["exec", id, "sh", "-c", "exit 9"])).status).toBe(9);
    expect((await world.docker().run(["exec", "-i", id, "cat"], { stdin: "in\n" })).stdout).toBe("in\n");
    const socket = world.engine.suite.paths.containerdSocket;
    const metrics = await run([ctr ?? "", "-a", socket, "-n", "moby", "task", "metrics", id]);
    expect(metrics).toMatchObject({ status: 0, stdout: expect.stringMatching(/memory|pids|cpu/) });
    await docker("pause", id);
    expect(await docker("inspect", "--format", "{{.State.Status}}", id)).toBe("paused");
    await docker("unpause", id);
    await docker("stop", id);
    expect(await docker("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", id)).toBe("exited 4");
    expect(await docker("logs", id)).toBe("started\nbye");

    const tty = await docker("run", ...flags, "-dit", busybox, "sh");
    const typed = "tty; echo $((6 * 7)); exit 5\n";
    const attached = await world.docker().run(["attach", tty], { terminal: true, stdin: typed });
    expect(attached.stdout.replaceAll("\r", "")).toContain("/dev/pts/0\n42\n");
    expect(attached.status).toBe(5);

    const killed = await docker("run", ...flags, "-d", busybox, "sleep", "1000");
    await docker("kill", killed);
    expect(await docker("wait", killed)).toBe("137");
    await told(id, 4);
    await told(tty, 5);
    await told(killed, 137);
    await docker("rm", id, tty, killed);
    live.set(row.name, await docker("run", ...flags, "-d", busybox, "sh", "-c", script));
  });

  test("all live through a restart of dockerd and kill -9 of both daemons, and nothing of them is left", async () => {
    expect(live.size).toBe(rows.length);
    const { suite } = world.engine;
    await suite.restart("dockerd");
    await suite.kill("dockerd", "SIGKILL");
    await suite.kill("containerd", "SIGKILL");
    await suite.start("containerd");
    await suite.start("dockerd");
    for (const [name, id] of live) {
      expect({ name, alive: await docker("exec", id, "echo", "alive") }).toEqual({ name, alive: "alive" });
      await docker("stop", id);
      expect(await docker("inspect", "--format", "{{.State.ExitCode}}", id)).toBe("4");
      expect({ name, logs: await docker("logs", id) }).toEqual({ name, logs: "started\nbye" });
      await told(id, 4);
      await docker("rm", id);
    }
    expect(await world.engine.leaks()).toEqual([]);
  });
}

/** The executable of a process's parent. */
function parentOf(pid: string): string {
  const [, parent] = /^PPid:\t(\d+)$/m.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return fs.readlinkSync(`/proc/${parent}/exe`);
}

/** What the second run, which sees only version 2, says of a line. */
describe.skipIf(!elsewhere)("in a mount namespace with version 2 alone", () => {
  const rows = elsewhere ? combinations.filter(({ runtime }) => runtime === "crun") : [];
  test.each(rows.map(({ name }) => [name]))(
    "%s",
    async (name) => {
      const { stdout, stderr, status } = (await second) ?? { stdout: "", stderr: "", status: 1 };
      const output = `${stdout}\n${stderr}`;
      const [reason] = output.split("\n").filter((line) => line.startsWith(`# skipped: ${name}`));
      if (reason) console.log(reason);
      else {
        if (status !== 0) console.error(output);
        expect(status).toBe(0);
        expect(output).toMatch(new RegExp(`^\\(pass\\) .*${name}`, "m"));
      }
    },
    130_000,
  );
});
