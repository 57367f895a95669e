import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { ContainersDefinition } from "@longshore/api/containerd/services/containers/v1/containers";
import { TasksDefinition } from "@longshore/api/containerd/services/tasks/v1/tasks";
import { Options } from "@longshore/api/containerd/types/runc/options/oci";
import { channelTo, createClient } from "@longshore/rpc";
import { output } from "@longshore/testkit";
import { binDir, Daemon, haveCtr, present, type Shim } from "./daemon.ts";

setDefaultTimeout(60_000);

/** What a case looks at, while its container runs. */
interface Running {
  readonly pid: number;
  /** What runc was asked, a line each. */
  readonly runc: string;
  readonly dir: string;
}

type Case = readonly [
  name: string,
  options: (dir: string) => Partial<Options>,
  check: (running: Running) => void,
];

const CASES: readonly Case[] = [
  [
    "none",
    () => ({}),
    ({ runc }) => expect(runc).not.toMatch(/--no-pivot|--no-new-keyring|--systemd-cgroup/),
  ],
  ["NoPivotRoot", () => ({ noPivotRoot: true }), ({ runc }) => expect(runc).toMatch(/ create .*--no-pivot /)],
  [
    "NoNewKeyring",
    () => ({ noNewKeyring: true }),
    ({ runc }) => expect(runc).toMatch(/ create .*--no-new-keyring /),
  ],
  [
    "Root",
    (dir) => ({ root: `${dir}/runc-root` }),
    ({ runc, dir }) => {
      expect(runc).toContain(`--root ${dir}/runc-root/${path.basename(dir)} `);
      expect(fs.existsSync(`${dir}/runc-root/${path.basename(dir)}/o`)).toBe(true);
    },
  ],
  [
    "IoUid and IoGid",
    () => ({ ioUid: 1234, ioGid: 2345 }),
    ({ pid }) => {
      const { uid, gid } = fs.statSync(`/proc/${pid}/fd/1`);
      // Whose the container's process is, it is then; runc sees to that.
      expect([uid, gid]).toEqual([0, 2345]);
    },
  ],
];

function makeGroup(name: string): void {
  const all = fs.readdirSync("/sys/fs/cgroup", { withFileTypes: true });
  const version2 = fs.existsSync("/sys/fs/cgroup/cgroup.controllers");
  const roots = version2 ? [""] : all.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  for (const root of roots) {
    // Without processors and memory a group of cpuset takes no process.
    const group = path.join("/sys/fs/cgroup", root, name);
    fs.mkdirSync(group, { recursive: true });
    for (const file of ["cpuset.cpus", "cpuset.mems"]) {
      if (root !== "cpuset") continue;
      for (const at of [path.dirname(group), group]) {
        fs.writeFileSync(path.join(at, file), fs.readFileSync(path.join(at, "..", file)));
      }
    }
  }
}

describe.skipIf(!haveCtr)("runtime options", () => {
  for (const shim of present) {
    describe(`with ${shim.name}`, () => {
      let daemon: Daemon;
      let channel: ReturnType<typeof channelTo>;
      beforeAll(async () => {
        daemon = await Daemon.start();
        channel = channelTo(daemon.address);
        const { path: dir } = daemon.dir;
        const recorder = `#!/bin/sh\necho "$@" >> ${dir}/recorded\nexec ${path.join(binDir, "runc")} "$@"\n`;
        fs.writeFileSync(path.join(dir, "recorder"), recorder, { mode: 0o755 });
        makeGroup(`${daemon.cgroup}/shim`);
      });
      afterAll(async () => {
        channel.close();
        await daemon[Symbol.asyncDispose]();
      });

      test.each(CASES as Case[])("%s", async (_name, optionsIn, check) => {
        const { path: dir } = daemon.dir;
        fs.rmSync(path.join(dir, "recorded"), { force: true });
        const binaryName = path.join(dir, "recorder");
        const options = Options.fromPartial({ binaryName, ...optionsIn(dir) });
        await using running = await run(daemon, channel, shim, options);
        check({ dir, pid: running.pid, runc: fs.readFileSync(path.join(dir, "recorded"), "utf8") });
      });

      test("ShimCgroup", async () => {
        const shimCgroup = `${daemon.cgroup}/shim`;
        const binaryName = path.join(daemon.dir.path, "recorder");
        const started = run(daemon, channel, shim, Options.fromPartial({ binaryName, shimCgroup }));
        await using running = await started;
        const groups = fs.readFileSync(`/proc/${running.shimPid}/cgroup`, "utf8");
        expect(groups).toContain(`:${shimCgroup}\n`);
      });

      test("options of the task take the place of the container's", async () => {
        const { path: dir } = daemon.dir;
        const container = Options.fromPartial({ binaryName: "/no/such/runc" });
        const task = Options.fromPartial({ binaryName: path.join(dir, "recorder"), noPivotRoot: true });
        await using _ = await run(daemon, channel, shim, container, task);
        expect(fs.readFileSync(path.join(dir, "recorded"), "utf8")).toContain("--no-pivot");
      });

      test("BinaryName that isn't there is told, and leaves nothing", async () => {
        const failing = run(daemon, channel, shim, Options.fromPartial({ binaryName: "/no/such/runc" }));
        expect(await failing.then(() => "", String)).toContain("/no/such/runc");
        expect(fs.existsSync(daemon.bundle("o"))).toBe(false);
      });
    });
  }
});

/** Run a container with options; it is gone when what comes back is disposed of. */
async function run(
  daemon: Daemon,
  channel: ReturnType<typeof channelTo>,
  shim: Shim,
  ofContainer: Options,
  ofTask?: Options,
): Promise<AsyncDisposable & { pid: number; shimPid: number }> {
  const metadata = { "containerd-namespace": daemon.namespace };
  const containers = createClient(channel, ContainersDefinition, { metadata });
  const tasks = createClient(channel, TasksDefinition, { metadata });
  const any = (options: Options) => ({
    typeUrl: "containerd.runc.v1.Options",
    value: Buffer.from(Options.encode(options).finish()),
  });
  const spec = JSON.parse(await output(["ctr", "oci", "spec"]));
  spec.process = { ...spec.process, args: ["/bin/sleep", "1000"], terminal: false };
  spec.root = { path: daemon.rootfs };
  spec.linux.cgroupsPath = `${daemon.cgroup}/o`;
  const unset = { image: "", labels: {}, snapshotter: "", snapshotKey: "", sandbox: "", extensions: {} };
  const id = "o";
  await using undo = new AsyncDisposableStack();
  await containers.create({
    container: {
      ...{ ...unset, id, createdAt: undefined, updatedAt: undefined },
      runtime: { name: shim.runtime, options: any(ofContainer) },
      spec: {
        typeUrl: "types.containerd.io/opencontainers/runtime-spec/1/Spec",
        value: Buffer.from(JSON.stringify(spec)),
      },
    },
  });
  undo.defer(async () => void (await containers.delete({ id })));
  const stdout = path.join(daemon.dir.path, "stdout");
  fs.rmSync(stdout, { force: true });
  await output(["mkfifo", stdout]);
  // Someone must read what the container writes.
  const reader = fs.openSync(stdout, fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
  undo.defer(() => fs.closeSync(reader));
  await tasks.create({
    ...{ containerId: id, rootfs: [], stdin: "", stdout, stderr: stdout, terminal: false },
    ...{ checkpoint: undefined, options: ofTask && any(ofTask) },
    ...{ runtimePath: "", taskApiAddress: "", taskApiVersion: 0 },
  });
  undo.defer(async () => {
    await tasks.kill({ containerId: id, execId: "", signal: 9, all: false });
    await tasks.wait({ containerId: id, execId: "" });
    await tasks.delete({ containerId: id });
  });
  const { pid } = await tasks.start({ containerId: id, execId: "" });
  const shimPid = daemon.shimPid(id);
  const owned = undo.move();
  return { pid, shimPid, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
