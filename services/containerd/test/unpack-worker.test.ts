import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { ContentDefinition, WriteAction } from "@longshore/api/containerd/services/content/v1/content";
import { digestOf } from "@longshore/digest";
import { channelTo, createClient } from "@longshore/rpc";
import { eventually } from "@longshore/testkit";
import { Daemon, processesWith } from "./daemon.ts";

setDefaultTimeout(60_000);

let daemon: Daemon;
beforeAll(async () => {
  daemon = await Daemon.start();
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

/** CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SYS_ADMIN, MKNOD, SETFCAP. */
const CAPABILITIES = "000000008820001b";

const fieldOf = (status: string, name: string) => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1];

/** Writing a blob makes the daemon have a worker ready. */
async function workerOf(): Promise<number> {
  const channel = channelTo(daemon.address);
  const metadata = { "containerd-namespace": daemon.namespace };
  const content = createClient(channel, ContentDefinition, { metadata });
  const data = Buffer.from(crypto.randomUUID());
  const request = {
    action: WriteAction.COMMIT,
    ref: data.toString(),
    total: 0n,
    expected: digestOf(data),
    offset: 0n,
    data,
    labels: {},
  };
  const requests = (async function* () {
    yield request;
  })();
  await Array.fromAsync(content.write(requests));
  channel.close();
  const found = () =>
    processesWith("\0unpack-worker\0--confined\0").find((pid) => {
      const status = fs.readFileSync(`/proc/${pid}/status`, "utf8");
      return fieldOf(status, "PPid") === String(daemon.pid) && fieldOf(status, "Seccomp") === "2";
    });
  return eventually(found, { what: "a confined worker" });
}

test("a worker has few rights in all its threads, namespaces of its own and an empty root", async () => {
  const pid = await workerOf();
  for (const thread of fs.readdirSync(`/proc/${pid}/task`)) {
    const status = fs.readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8");
    for (const set of ["CapPrm", "CapEff", "CapBnd"]) expect(fieldOf(status, set)).toBe(CAPABILITIES);
    for (const set of ["CapInh", "CapAmb"]) expect(fieldOf(status, set)).toBe("0000000000000000");
    expect(fieldOf(status, "NoNewPrivs")).toBe("1");
    expect(fieldOf(status, "Seccomp")).toBe("2");
    for (const kind of ["mnt", "net", "ipc", "uts", "cgroup"]) {
      const ours = fs.readlinkSync(`/proc/${daemon.pid}/ns/${kind}`);
      expect(fs.readlinkSync(`/proc/${pid}/task/${thread}/ns/${kind}`)).not.toBe(ours);
    }
    expect(fs.readdirSync(`/proc/${pid}/task/${thread}/root`)).toEqual(["proc"]);
  }
  expect(fs.readFileSync(`/proc/${pid}/environ`, "utf8")).toBe("");
  const mounts = fs.readFileSync(`/proc/${pid}/mountinfo`, "utf8").trim().split("\n");
  expect(mounts.map((line) => line.split(" ")[4]).toSorted()).toEqual(["/", "/proc/self/fd"]);
  expect(execFileSync("ps", ["-o", "args=", "-p", String(pid)]).toString()).toBe(
    "containerd unpack-worker --confined\n",
  );
});

test("what a captured worker would try is refused", async () => {
  const victim = spawn("sleep", ["60"]);
  const script = path.join(import.meta.dirname, "confined-attacks.ts");
  const said = execFileSync(process.execPath, [script, String(victim.pid)], { encoding: "utf8" });
  const { outcomes, root } = JSON.parse(said) as { outcomes: Record<string, string>; root: string[] };
  expect(root).toEqual(["proc"]);
  const refusals = ["errno 1", "EPERM", "ENOENT", "EROFS"];
  const others = Object.entries(outcomes).filter(([, outcome]) => !refusals.includes(outcome));
  expect(others).toEqual([]);
  expect(Object.keys(outcomes).length).toBeGreaterThan(25);
  expect(victim.exitCode ?? victim.signalCode).toBeNull();
  victim.kill("SIGKILL");
  await once(victim, "exit");
});
