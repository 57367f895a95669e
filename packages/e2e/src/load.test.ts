import { describe, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import fs from "node:fs";
import { eventually } from "@longshore/testkit";
import { Attached } from "./attach-client.ts";
import { api } from "./engine-api.ts";
import { useWorld } from "./world.ts";

const world = useWorld();

/** Do something for each of `count` numbers, some at a time. */
async function forEach<T>(count: number, work: (index: number) => Promise<T>, atOnce = 8): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  const worker = async () => {
    for (let index = next++; index < count; index = next++) results[index] = await work(index);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return results;
}

async function create(body: object, name = ""): Promise<string> {
  const image = { Image: world().busybox, HostConfig: { NetworkMode: "none" } };
  const answer = await api(
    world(),
    "POST",
    `/v1.41/containers/create?name=${name}`,
    JSON.stringify({ ...image, ...body }),
  );
  expect(answer.status).toBe(201);
  return (JSON.parse(answer.body) as { Id: string }).Id;
}

async function expectStatus(status: number, method: string, path: string): Promise<string> {
  const answer = await api(world(), method, path);
  expect({ path, status: answer.status, message: answer.message }).toEqual({ path, status, message: "" });
  return answer.body;
}

const socketPath = () => world().engine.suite.paths.dockerSocket;

/** Private memory of dockerd in MB. */
function daemonMegabytes(): number {
  const pid = world().engine.suite.pid("dockerd");
  const rollup = fs.readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const kilobytes = [...rollup.matchAll(/^Private_(?:Clean|Dirty): +(\d+) kB$/gm)];
  return kilobytes.reduce((sum, [, value]) => sum + Number(value), 0) / 1024;
}

/** CPU time of dockerd in ms, in steps of 10. */
function daemonCpuMs(): number {
  const pid = world().engine.suite.pid("dockerd");
  const fields = fs.readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

describe("many containers", () => {
  const attachedCount = 200;
  test(`${attachedCount} that run at once, each attached: every one gets its own input, output and exit status`, async () => {
    const script = 'read word; echo "got $word"; echo "err $word" >&2; exit $((word % 120))';
    const stdio = { OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true };
    const all = await forEach(attachedCount, async () => {
      const id = await create({ ...stdio, Cmd: ["sh", "-c", script] });
      const attached = await Attached.open(socketPath(), id);
      await expectStatus(204, "POST", `/v1.41/containers/${id}/start`);
      return { id, attached };
    });
    const listed = JSON.parse(await expectStatus(200, "GET", "/v1.41/containers/json")) as { Id: string }[];
    expect(listed.map(({ Id }) => Id).sort()).toEqual(all.map(({ id }) => id).sort());
    for (const [index, { attached }] of all.entries()) attached.write(`${index}\n`);
    await forEach(attachedCount, async (index) => {
      const one = all[index];
      if (!one) throw new Error("no such container");
      await one.attached.ended;
      const lines = one.attached.text().trimEnd().split("\n").sort();
      expect(lines).toEqual([`err ${index}`, `got ${index}`]);
      const waited = await expectStatus(200, "POST", `/v1.41/containers/${one.id}/wait`);
      expect(JSON.parse(waited)).toEqual({ StatusCode: index % 120 });
      one.attached[Symbol.dispose]();
      await expectStatus(204, "DELETE", `/v1.41/containers/${one.id}`);
    });
    expect(await world().engine.leaks()).toEqual([]);
  }, 300_000);

  const listedCount = 1000;
  test(`${listedCount} are listed whole, in no more than 0.1 ms of the daemon's time each`, async () => {
    await forEach(listedCount, (index) => create({ Cmd: ["true"], Labels: { n: String(index) } }));
    const list = async (query = "") => {
      const body = await expectStatus(200, "GET", `/v1.41/containers/json?all=1${query}`);
      return JSON.parse(body) as { Labels: { n: string } }[];
    };
    const numbers = (await list()).map(({ Labels: { n } }) => Number(n)).sort((a, b) => a - b);
    expect(numbers).toEqual(Array.from({ length: listedCount }, (_, index) => index));
    // The least of many: the daemon also takes away what made the containers meanwhile.
    const costs: number[] = [];
    for (let round = 0; round < 20; round++) {
      const before = daemonCpuMs();
      await list();
      costs.push(daemonCpuMs() - before);
    }
    expect(Math.min(...costs)).toBeLessThanOrEqual(listedCount * 0.1);
    expect(await list("&limit=5")).toHaveLength(5);
    const pruned = JSON.parse(await expectStatus(200, "POST", "/v1.41/containers/prune")) as {
      ContainersDeleted: string[];
    };
    expect(pruned.ContainersDeleted).toHaveLength(listedCount);
    expect(await world().engine.leaks()).toEqual([]);
  }, 300_000);
});

describe("a client that doesn't read", () => {
  const LINES = 1_000_000;
  /** 40 MB of output. */
  const FLOOD = `yes 0123456789012345678901234567890123456 | head -n ${LINES}`;
  /** The daemon may grow by what it works with, not by the output: ten readers of one log would be half a gigabyte. */
  const GROWTH_MB = 64;

  test("an attached one: the container goes on to its end, nobody else waits, and the daemon's memory stays", async () => {
    const id = await create({ Cmd: ["sh", "-c", `read go; ${FLOOD}`], OpenStdin: true });
    using slow = await Attached.open(socketPath(), id);
    await expectStatus(204, "POST", `/v1.41/containers/${id}/start`);
    const before = daemonMegabytes();
    slow.write("\n");
    slow.stopReading();
    const other = await create({ Cmd: ["echo", "other"], AttachStdout: true });
    using quick = await Attached.open(socketPath(), other);
    await expectStatus(204, "POST", `/v1.41/containers/${other}/start`);
    await quick.ended;
    expect(quick.text()).toBe("other\n");
    const waited = await expectStatus(200, "POST", `/v1.41/containers/${id}/wait`);
    expect(JSON.parse(waited)).toEqual({ StatusCode: 0 });
    expect(daemonMegabytes() - before).toBeLessThan(GROWTH_MB);
    const log = await world().docker()("inspect", "-f", "{{.LogPath}}", id);
    expect(await lineCount(log)).toBe(LINES);
    slow[Symbol.dispose]();
    await world().docker()("rm", id, other);
  });

  test("one of a log, of ten logs, of a followed one, of events and of stats: the same", async () => {
    const id = await create({ Cmd: ["sh", "-c", FLOOD] });
    await expectStatus(204, "POST", `/v1.41/containers/${id}/start`);
    await expectStatus(200, "POST", `/v1.41/containers/${id}/wait`);
    const running = await create({ Cmd: ["sh", "-c", "while :; do echo 0123456789; done"] });
    await expectStatus(204, "POST", `/v1.41/containers/${running}/start`);
    const before = daemonMegabytes();
    const query = "stdout=1&stderr=1";
    const paths = [
      ...Array.from({ length: 10 }, () => `/v1.41/containers/${id}/logs?${query}`),
      `/v1.41/containers/${running}/logs?${query}&follow=1`,
      `/v1.41/containers/${running}/stats`,
      "/v1.41/events",
    ];
    const stuck = paths.map((path) => stuckClient(path));
    try {
      const highest = { mb: 0 };
      // So long that each would have got all of it.
      for (let round = 0; round < 20; round++) {
        expect(await world().docker()("exec", running, "echo", "quick")).toBe("quick");
        highest.mb = Math.max(highest.mb, daemonMegabytes());
      }
      expect(highest.mb - before).toBeLessThan(GROWTH_MB);
    } finally {
      for (const end of stuck) await end();
    }
    await eventually(
      async () => JSON.parse(await expectStatus(200, "GET", "/v1.41/info")).NEventsListener === 0,
    );
    await world().docker()("rm", "-f", id, running);
  });
});

test("one container's shim hangs: lists, inspections, its log and the others' lives go on, and its stop when the shim does", async () => {
  world().engine.mark();
  const script = "trap 'exit 4' TERM; echo ready; while :; do usleep 20000; done";
  const docker = world().docker();
  const id = await docker("run", "-d", "--name", "stuck", world().busybox, "sh", "-c", script);
  await eventually(async () => (await docker("logs", id)) === "ready");
  const shim = shimPid(id);
  process.kill(shim, "SIGSTOP");
  try {
    const stopping = api(world(), "POST", `/v1.41/containers/${id}/stop?t=30`);
    const listed = JSON.parse(await expectStatus(200, "GET", "/v1.41/containers/json")) as { Id: string }[];
    expect(listed.map(({ Id }) => Id)).toEqual([id]);
    expect(await docker("inspect", "-f", "{{.State.Status}}", id)).toBe("running");
    expect(await docker("logs", id)).toBe("ready");
    expect(await docker("run", "--rm", world().busybox, "echo", "alive")).toBe("alive");
    const other = await docker("run", "-d", world().busybox, "sleep", "1000");
    expect(await docker("exec", other, "echo", "exec")).toBe("exec");
    await docker("rm", "-f", other);
    expect(await docker("info", "--format", "{{.ContainersRunning}}")).toBe("1");
    process.kill(shim, "SIGCONT");
    expect((await stopping).status).toBe(204);
    expect(await docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", id)).toBe("exited 4");
  } finally {
    if (fs.existsSync(`/proc/${shim}`)) process.kill(shim, "SIGCONT");
  }
  await docker("rm", id);
  expect(await world().engine.leaks()).toEqual([]);
});

function shimPid(id: string): number {
  const pid = fs.readdirSync("/proc").find((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      const words = fs.readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0");
      return words[0]?.endsWith("containerd-shim-runc-v2") && words.includes(id);
    } catch {
      return false; // ended
    }
  });
  if (pid === undefined) throw new Error(`container ${id} has no shim`);
  return Number(pid);
}

/** A process that asks and never reads. Resolves when it has ended. */
function stuckClient(path: string): () => Promise<void> {
  const script = `const socket = require("net").connect(${JSON.stringify(socketPath())});
    socket.write("GET ${path} HTTP/1.1\\r\\nHost: docker\\r\\n\\r\\n");
    socket.pause();
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["-e", script], { stdio: "ignore" });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  return () => {
    child.kill("SIGKILL");
    return ended;
  };
}

async function lineCount(file: string): Promise<number> {
  let lines = 0;
  for await (const chunk of fs.createReadStream(file, { highWaterMark: 1 << 20 })) {
    const bytes = chunk as Buffer;
    for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) lines++;
  }
  return lines;
}
