/** Limits where all controllers are in cgroup v2: on such a machine, or in the virtual one (`packages/testkit/bin/cgroup2-vm`). */
import { afterAll, afterEach, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { eventually } from "@longshore/testkit";
import { it as always, missing, type Patch, Playground, runc, skipped, unified } from "./playground.ts";

const controllers = unified ? fs.readFileSync("/sys/fs/cgroup/cgroup.controllers", "utf8").split(/\s+/) : [];
const full = ["cpu", "memory", "pids", "cpuset", "io"].every((name) => controllers.includes(name));
const it = full ? always : test.skip;
if (!full && !missing) skipped("limits of every kind in cgroup v2: the controllers are not there");

const playground = new Playground();
afterAll(() => playground[Symbol.dispose]());
afterEach(() => playground.clear());

const read = (id: string, file: string) =>
  fs.readFileSync(path.join("/sys/fs/cgroup", playground.groupOf(id), file), "utf8").trim();
const limits = (resources: Patch): Patch => ({ linux: { resources } });
const MB = 1 << 20;

it("create writes every limit of the specification into v2's files", () => {
  using created = playground.create(
    limits({
      memory: { limit: 96 * MB, swap: 128 * MB, reservation: 32 * MB },
      cpu: { shares: 1024, quota: 30_000, period: 60_000, burst: 10_000, cpus: "0", mems: "0" },
      pids: { limit: 33 },
      blockIO: { weight: 100 },
      unified: { "memory.high": String(90 * MB), "cpu.weight": "200" },
    }),
  );
  const { id } = created;
  expect(read(id, "memory.max")).toBe(String(96 * MB));
  if (fs.existsSync(path.join("/sys/fs/cgroup", playground.groupOf(id), "memory.swap.max"))) {
    expect(read(id, "memory.swap.max")).toBe(String(32 * MB));
  }
  expect(read(id, "memory.low")).toBe(String(32 * MB));
  expect(read(id, "memory.high")).toBe(String(90 * MB));
  expect(read(id, "cpu.max")).toBe("30000 60000");
  expect(read(id, "cpu.max.burst")).toBe("10000");
  // Where both say something the file's own name counts, as it is written last.
  expect(read(id, "cpu.weight")).toBe("200");
  expect(read(id, "cpuset.cpus")).toBe("0");
  expect(read(id, "pids.max")).toBe("33");
});

it("shares become weights on the curve of the newer runtimes, and idle is idle", () => {
  using created = playground.create(limits({ cpu: { shares: 1024 } }));
  expect(read(created.id, "cpu.weight")).toBe("100");
  using idle = playground.create(limits({ cpu: { idle: 1 } }));
  expect(read(idle.id, "cpu.idle")).toBe("1");
});

it("update keeps what isn't mentioned, also where one file holds two values", () => {
  using created = playground.start(
    limits({ memory: { limit: 64 * MB, swap: 96 * MB }, cpu: { quota: 50_000, period: 100_000 } }),
  );
  const { id } = created;
  playground.must("update", "--cpu-quota", "20000", id);
  expect(read(id, "cpu.max")).toBe("20000 100000");
  playground.must("update", "--cpu-period", "50000", id);
  expect(read(id, "cpu.max")).toBe("20000 50000");
  playground.must("update", "--memory", "80M", id);
  expect(read(id, "memory.max")).toBe(String(80 * MB));
  if (fs.existsSync(path.join("/sys/fs/cgroup", playground.groupOf(id), "memory.swap.max"))) {
    expect(read(id, "memory.swap.max")).toBe(String(16 * MB));
    playground.must("update", "--memory-swap", "200M", id);
    expect(read(id, "memory.swap.max")).toBe(String(120 * MB));
  }
  playground.must("update", "--memory", "-1", "--pids-limit", "-1", "--cpu-share", "2048", id);
  expect(read(id, "memory.max")).toBe("max");
  expect(read(id, "pids.max")).toBe("max");
  expect(read(id, "cpu.weight")).toBe("174");
});

it("a limit below what is in use is refused before the kernel would kill for it, when that is asked for", () => {
  using created = playground.start();
  const result = playground.command(["update", "-r", "-", created.id], {
    stdin: '{"memory":{"limit":4096,"checkBeforeUpdate":true}}',
  });
  expect(result.stderr).toMatch(/rejecting memory limit 4096 <= usage \d+/);
  expect(JSON.parse(playground.must("state", created.id)).status).toBe("running");
});

it("a second create in a group that is there finds one device program, not two", () => {
  const id = playground.id();
  const group = path.join("/sys/fs/cgroup", playground.groupOf(id));
  fs.mkdirSync(group, { recursive: true });
  const mem = "mknod /m c 1 1 && ! (: < /m)";
  const process = {
    args: ["sh", "-c", mem],
    capabilities: { bounding: ["CAP_MKNOD"], effective: ["CAP_MKNOD"], permitted: ["CAP_MKNOD"] },
  };
  for (let round = 0; round < 2; round++) {
    fs.rmSync(path.join(playground.rootfs, "m"), { force: true });
    expect(playground.run({ process }, { id }).code).toBe(0);
  }
});

it("events tell of memory that runs out, and end with the container", async () => {
  using created = playground.create({
    process: { args: ["sh", "-c", "sleep 1; x=a; while true; do x=$x$x; done"] },
    ...limits({ memory: { limit: 24 * MB, swap: 24 * MB } }),
  });
  const output = path.join(playground.dir, "events");
  const events = Bun.spawn([runc, "--root", playground.root, "events", "--interval", "300ms", created.id], {
    stdin: "ignore",
    stdout: Bun.file(output),
    stderr: Bun.file(`${output}.err`),
  });
  await eventually(() => fs.existsSync(output) && fs.readFileSync(output, "utf8").includes('"stats"'), {
    timeoutMs: 60_000,
  });
  playground.must("start", created.id);
  await eventually(() => fs.readFileSync(output, "utf8").includes('"type":"oom"'), { timeoutMs: 60_000 });
  expect(await events.exited).toBe(0);
  const stats = JSON.parse(fs.readFileSync(output, "utf8").split("\n")[0] ?? "").data;
  expect(stats.memory.usage.limit).toBe(24 * MB);
  expect(stats.cpu.psi.some).toHaveProperty("total");
}, 200_000);
