import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { connectStdio, formatStdioUri } from "@longshore/stdio";
import {
  type ContainerOptions,
  canRun,
  Harness,
  isAlive,
  logEntries,
  peerRunc,
  shimBinary,
  type TestContainer,
  until,
} from "./harness.ts";

const canSleep = { LONGSHORE_SHIM_SLEEP_MS: "50" };

function stdioOf({ bundle, dir, id }: TestContainer, name = "io") {
  const file = path.join(bundle, `${name}.log`);
  const socketPath = path.join(dir, `${id}-${name}`);
  return { uri: formatStdioUri({ socketPath, log: { path: file } }), file, socketPath };
}

/** Whether the process is the program that waits. */
function sleeps(pid: number): boolean {
  return fs.readlinkSync(`/proc/${pid}/exe`).startsWith("/memfd:");
}

const asleep = ({ shimPid }: TestContainer) => until(() => sleeps(shimPid), "the shim to sleep");

/** Bytes of a process that no other process shares. */
function privateBytes(pid: number): number {
  const rollup = fs.readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const sizes = [...rollup.matchAll(/^Private_(?:Clean|Dirty): +(\d+) kB$/gm)];
  return sizes.reduce((sum, [, kilobytes]) => sum + Number(kilobytes) * 1024, 0);
}

const textOf = (file: string) =>
  logEntries(file)
    .map(({ log }) => log)
    .join("");

describe.skipIf(!canRun)("a shim with nothing to do sleeps", () => {
  const begin = async (harness: Harness, options: ContainerOptions, stdin = false) => {
    const container = await harness.container({ ...options, env: { ...canSleep, ...options.env } });
    const io = stdioOf(container);
    const { terminal } = options;
    await container.create({
      stdout: io.uri,
      ...(!terminal && { stderr: io.uri }),
      ...(stdin && { stdin: io.uri }),
    });
    await container.start();
    return { container, ...io };
  };

  test.concurrent("as the same process, with next to no memory, and answers as if it didn't", async () => {
    await using harness = new Harness();
    const { container } = await begin(harness, { args: ["sleep", "1000"] });
    const { shimPid } = container;
    const shown = () => [
      fs.readFileSync(`/proc/${shimPid}/cmdline`, "utf8").replace(/\0+$/, ""),
      fs.readFileSync(`/proc/${shimPid}/comm`, "utf8"),
      fs.readFileSync(`/proc/${shimPid}/oom_score_adj`, "utf8"),
    ];
    const before = shown();
    await asleep(container);
    // It gives itself its name first.
    await until(() => Bun.deepEquals(shown(), before), "the look of it");
    expect(privateBytes(shimPid)).toBeLessThan(150_000);
    // Over the connection that was there before.
    const { pid, status } = await container.task.state({ id: container.id, execId: "" });
    expect([status, isAlive(pid)]).toEqual([2, true]);
    expect(sleeps(shimPid)).toBe(false);
    expect(shown()).toEqual(before);
    const open = () => fs.readdirSync(`/proc/${shimPid}/fd`).length;
    const descriptors = open();
    await asleep(container);
    await container.task.state({ id: container.id, execId: "" });
    expect(open()).toBe(descriptors);
    await asleep(container);
    await container.exec("one", ["true"]);
    await container.start("one");
    expect((await container.wait("one")).exitStatus).toBe(0);
    await container.delete("one");
    await asleep(container);
    await container.kill(9);
    expect((await container.finish()).exitStatus).toBe(137);
    expect(harness.topics(container).filter((topic) => topic === "/tasks/exit")).toHaveLength(2);
    expect(fs.readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(container.bundle);
  }, 60_000);

  test.concurrent("an exit wakes it, and who waited before is told", async () => {
    await using harness = new Harness();
    const { container, socketPath } = await begin(harness, { args: ["cat"] }, true);
    const waiting = container.wait();
    await asleep(container);
    const client = await connectStdio(socketPath, { data() {}, end() {} });
    await client.closeStdin();
    expect((await waiting).exitStatus).toBe(0);
    await until(() => harness.topics(container).includes("/tasks/exit"), "the exit event");
    expect(fs.existsSync(path.join(container.bundle, "exits/init.json"))).toBe(true);
    await container.finish();
  }, 60_000);

  test.concurrent("output and input wake it, and no byte is lost", async () => {
    await using harness = new Harness();
    const { container, file, socketPath } = await begin(
      harness,
      // Unfinished lines of both streams wait with it.
      {
        args: [
          "sh",
          "-c",
          "printf one; printf eins >&2; while read -r line; do echo $line; echo $line >&2; done",
        ],
      },
      true,
    );
    await asleep(container);
    expect(textOf(file)).toBe("");
    let output = "";
    const client = await connectStdio(socketPath, {
      data: (_, bytes) => {
        output += Buffer.from(bytes).toString("latin1");
      },
      end() {},
    });
    await client.write(Buffer.from("two\n"));
    await until(() => output === "two\ntwo\n", "the echo");
    expect(sleeps(container.shimPid)).toBe(false);
    client.close();
    await asleep(container);
    const again = await connectStdio(socketPath, { data() {}, end() {} });
    await again.write(Buffer.from("three\n"));
    await again.closeStdin();
    await container.finish();
    const written = (stream: string) =>
      logEntries(file)
        .filter((entry) => entry.stream === stream)
        .map(({ log }) => log);
    expect(written("stdout")).toEqual(["onetwo\n", "three\n"]);
    expect(written("stderr")).toEqual(["einstwo\n", "three\n"]);
  }, 60_000);

  test.concurrent("a terminal, a running exec, an orphan, and SIGTERM", async () => {
    await using harness = new Harness();
    const { container, file, socketPath } = await begin(
      harness,
      { args: ["sh", "-c", "read -r line; echo got $line; sleep 1000"], terminal: true },
      true,
    );
    await container.exec("long", ["sh", "-c", "sleep 4; exit 5"]);
    await container.start("long");
    const exec = container.wait("long");
    await asleep(container);
    expect((await exec).exitStatus).toBe(5);
    await container.delete("long");
    await asleep(container);
    const client = await connectStdio(socketPath, { data() {}, end() {} });
    await client.write(Buffer.from("it\n"));
    await until(() => textOf(file).includes("got it"), "the answer");
    client.close();
    await container.task.resizePty({ id: container.id, execId: "", width: 91, height: 17 });
    // Input that was closed stays so, over two sleeps too.
    await container.task.closeIO({ id: container.id, execId: "", stdin: true });
    for (const word of ["late", "later"]) {
      await asleep(container);
      const late = await connectStdio(socketPath, { data() {}, end() {} });
      await late.write(Buffer.from(`${word}\n`));
      await Bun.sleep(200);
      late.close();
    }
    expect(textOf(file)).not.toContain("late");
    await asleep(container);
    process.kill(container.shimPid, "SIGTERM");
    await until(() => harness.topics(container).includes("/tasks/exit"), "the exit event");
    expect((await container.wait()).exitStatus).toBe(137);
    await container.delete();
  }, 60_000);

  test.concurrent("`delete` ends one that is given up", async () => {
    await using harness = new Harness();
    const { container } = await begin(harness, { args: ["sleep", "1000"] });
    const { shimPid } = container;
    await asleep(container);
    await container.destroy();
    await until(() => !isAlive(shimPid), "the shim's end");
  }, 60_000);

  test.concurrent("what it was started from may be gone", async () => {
    await using harness = new Harness();
    const binary = path.join(harness.dir, "containerd-shim-runc-v2");
    fs.copyFileSync(shimBinary, binary);
    const { container } = await begin(harness, { args: ["sleep", "1000"], shim: binary });
    await asleep(container);
    fs.rmSync(binary);
    const { status } = await container.task.state({ id: container.id, execId: "" });
    expect(status).toBe(2);
    await asleep(container);
    await container.kill(9);
    expect((await container.finish()).exitStatus).toBe(137);
  }, 60_000);

  test.concurrent("a signal that comes just when it falls asleep is heard", async () => {
    await using harness = new Harness();
    const env = { LONGSHORE_SHIM_SLEEP_MS: "2000" };
    const { container } = await begin(harness, { args: ["sleep", "1000"], env });
    const { shimPid, id } = container;
    await container.task.state({ id, execId: "" });
    await Bun.sleep(2600);
    // With both the signal and the time to sleep before its next turn.
    process.kill(shimPid, "SIGSTOP");
    await Bun.sleep(2000);
    process.kill(shimPid, "SIGTERM");
    process.kill(shimPid, "SIGCONT");
    await until(() => harness.topics(container).includes("/tasks/exit"), "the exit event");
    await container.delete();
  }, 60_000);

  test.concurrent("its socket for clients, its log and its bundle may be gone", async () => {
    await using harness = new Harness();
    const { container, file, socketPath } = await begin(harness, {
      args: ["sh", "-c", "trap 'echo heard' USR1; echo begun; while :; do sleep 0.1; done"],
    });
    const { bundle, id } = container;
    const { pid } = await container.task.state({ id, execId: "" });
    await asleep(container);
    fs.rmSync(socketPath);
    const away = `${bundle}.away`;
    fs.renameSync(bundle, away);
    // Not where it was, and not where a new one may be.
    fs.renameSync(path.join(away, path.basename(file)), path.join(away, "moved.log"));
    process.kill(pid, "SIGUSR1");
    await until(() => textOf(path.join(away, "moved.log")) === "begun\nheard\n", "its log");
    expect((await container.task.state({ id, execId: "" })).status).toBe(2);
    fs.renameSync(away, bundle);
    await asleep(container);
    await container.kill(9);
    expect((await container.finish()).exitStatus).toBe(137);
  }, 60_000);

  test.concurrent("a kill for want of memory is told though it sleeps", async () => {
    await using harness = new Harness();
    const { container } = await begin(harness, {
      args: ["sh", "-c", "sleep 3; dd if=/dev/zero of=/dev/null bs=200M count=1; sleep 1000"],
      edit(spec) {
        spec.linux.resources = { memory: { limit: 30 << 20 } };
      },
    });
    await asleep(container);
    await until(() => harness.topics(container).includes("/tasks/oom"), "the news");
    expect(harness.topics(container).filter((topic) => topic === "/tasks/oom")).toHaveLength(1);
    await container.kill(9);
    await container.finish();
  }, 60_000);

  test.concurrent("but not while a client is attached, or output goes where others take part", async () => {
    await using harness = new Harness();
    const one = await begin(harness, { args: ["sleep", "1000"] });
    const client = await connectStdio(one.socketPath, { data() {}, end() {} });
    const fifo = path.join(harness.dir, "fifo");
    Bun.spawnSync(["mkfifo", fifo]);
    const other = await harness.container({ args: ["sleep", "1000"], env: canSleep });
    await other.create({ stdout: fifo });
    await other.start();
    await Bun.sleep(3000);
    expect([one.container, other].map(({ shimPid }) => sleeps(shimPid))).toEqual([false, false]);
    client.close();
    await asleep(one.container);
  }, 60_000);
});

test.skipIf(!canRun || !peerRunc)(
  "without sleep it stays awake",
  async () => {
    await using harness = new Harness();
    // The other one is more than a timer takes: a month.
    const begun = ["0", "2678400000"].map(async (LONGSHORE_SHIM_SLEEP_MS) => {
      const container = await harness.container({
        args: ["sleep", "1000"],
        env: { LONGSHORE_SHIM_SLEEP_MS },
      });
      await container.create();
      await container.start();
      return container;
    });
    const containers = await Promise.all(begun);
    await Bun.sleep(2500);
    expect(containers.map(({ shimPid }) => sleeps(shimPid))).toEqual([false, false]);
  },
  30_000,
);
