import { expect, test } from "bun:test";
import fs from "node:fs";
import net from "node:net";
import { eventually } from "@longshore/testkit";
import { initPid } from "../init-process.ts";
import { useWorld } from "../world.ts";

const world = useWorld();
const docker = (...args: string[]) => world().docker()(...args);

/** LONGSHORE_ABORTS sets how many clients abort; 10,000 take about a minute. */
const COUNT = Number(process.env.LONGSHORE_ABORTS ?? 1000);
const AT_ONCE = 16;
/** What a daemon may have allocated and not collected yet. */
const DAEMON_KILOBYTES = 65_536;

const descriptors = (pid: number) => fs.readdirSync(`/proc/${pid}/fd`).length;

function privateKilobytes(pid: number): number {
  const rollup = fs.readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const parts = [...rollup.matchAll(/^Private_(?:Clean|Dirty): +(\d+) kB$/gm)];
  return parts.reduce((sum, [, value]) => sum + Number(value), 0);
}

function parentOf(pid: number): number {
  return Number(/^PPid:\t(\d+)$/m.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

/** Send a request that takes the connection over, and cut the connection `afterBytes` of the answer. */
function abort(path: string, body: string, afterBytes: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const socket = net.connect(world().engine.suite.paths.dockerSocket);
  const head = [
    `POST ${path} HTTP/1.1`,
    "Host: docker",
    "Connection: Upgrade",
    "Upgrade: tcp",
    "Content-Type: application/json",
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  socket.on("error", () => {});
  socket.on("close", () => resolve());
  socket.write(`${head.join("\r\n")}\r\n\r\n${body}`, () => {
    if (afterBytes === 0) socket.destroy();
  });
  socket.on("data", () => socket.destroy());
  return promise;
}

async function many(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    for (let index = next++; index < count; index = next++) await work(index);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** CVE-2022-23471, CVE-2025-64329: each aborted attach of the originals left something behind. */
test(
  `${COUNT} aborted attaches leave no descriptor and no memory in dockerd, containerd and the shim`,
  async () => {
    const id = await docker("run", "-di", "--net=none", world().busybox, "cat");
    try {
      const { suite } = world().engine;
      const pids = {
        dockerd: suite.pid("dockerd") ?? 0,
        containerd: suite.pid("containerd") ?? 0,
        shim: parentOf(initPid(id)),
      };
      const path = `/v1.41/containers/${id}/attach?stream=1&stdin=1&stdout=1&stderr=1`;
      const attaches = (count: number) => many(count, (index) => abort(path, "", index % 2));
      await attaches(200); // what a first use allocates
      const names = Object.keys(pids) as (keyof typeof pids)[];
      const before = names.map((name) => ({
        name,
        descriptors: descriptors(pids[name]),
        kilobytes: privateKilobytes(pids[name]),
      }));
      await attaches(COUNT);
      for (const { name, descriptors: was, kilobytes } of before) {
        // Connections that other requests keep open come and go.
        await eventually(() => descriptors(pids[name]) <= was + 3, { what: `${name}'s descriptors closed` });
        const grownKilobytes = privateKilobytes(pids[name]) - kilobytes;
        expect({
          name,
          tooMuch: grownKilobytes > (name === "shim" ? 1024 : DAEMON_KILOBYTES) && grownKilobytes,
        }).toEqual({
          name,
          tooMuch: false,
        });
      }
      // It still answers, and the container is the same.
      expect(await docker("inspect", "-f", "{{.State.Running}}", id)).toBe("true");
    } finally {
      await docker("rm", "-f", id);
    }
  },
  60_000 + COUNT * 20,
);
