import { describe, expect, setDefaultTimeout, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { ContainersDefinition } from "@longshore/api/containerd/services/containers/v1/containers";
import { TasksDefinition } from "@longshore/api/containerd/services/tasks/v1/tasks";
import { channelTo, createClient } from "@longshore/rpc";
import { eventually, output, run } from "@longshore/testkit";
import { binDir, Daemon, haveCtr, SHIMS } from "./daemon.ts";

setDefaultTimeout(60_000);

const ours = SHIMS[1];

async function daemonWith(config: string): Promise<Daemon> {
  const daemon = new Daemon();
  const file = path.join(daemon.dir.path, "config.toml");
  fs.writeFileSync(file, config);
  try {
    await daemon.start("--config", file);
  } catch (error) {
    await daemon[Symbol.asyncDispose]();
    throw error;
  }
  return daemon;
}

/** `type.id` → status, as `ctr plugins ls` shows them. */
async function plugins(daemon: Daemon): Promise<Map<string, string>> {
  const rows = (await daemon.out("plugins", "ls")).trim().split("\n").slice(1);
  return new Map(
    rows.map((row) => {
      const [type, id, , status = ""] = row.trim().split(/\s+/);
      return [`${type}.${id}`, status];
    }),
  );
}

const echo = (daemon: Daemon, id: string) => daemon.run(ours, ["--rm"], id, "/bin/echo", "runs");

describe.skipIf(!haveCtr)("plugins", () => {
  const DATA = ["content", "snapshots", "images", "diff", "leases"];
  const STORES = [
    "io.containerd.content.v1.content",
    "io.containerd.snapshotter.v1.overlayfs",
    "io.containerd.snapshotter.v1.native",
    "io.containerd.differ.v1.walking",
  ];
  const RECORDS = ["io.containerd.metadata.v1.bolt", "io.containerd.gc.v1.scheduler"];
  const grpc = (id: string) => `io.containerd.grpc.v1.${id}`;

  test.each([2, 3, 4])(
    "without content, images and snapshots (config version %d) containers run on a root directory that is given",
    async (version) => {
      const disabled = [...STORES, ...DATA.filter((id) => id !== "leases").map(grpc)];
      await using daemon = await daemonWith(
        `version = ${version}\ndisabled_plugins = ${JSON.stringify(disabled)}`,
      );
      const there = await plugins(daemon);
      for (const uri of disabled) expect([...there.keys()]).not.toContain(uri);
      expect(there.get(grpc("tasks"))).toBe("ok");
      for (const service of ["images", "content", "snapshots"]) {
        expect((await daemon.ctr(service, "ls")).stderr).toMatch(
          /does not implement the method .containerd\.services\.\w+\.v1/,
        );
      }
      expect(await echo(daemon, "bare")).toEqual({ status: 0, stdout: "runs\n", stderr: "" });
    },
  );

  test("with nothing but what runs containers, they run on mounts that are given", async () => {
    const disabled = [
      ...STORES,
      ...RECORDS,
      ...DATA.map(grpc),
      grpc("version"),
      "io.containerd.internal.v1.opt",
    ];
    await using daemon = await daemonWith(`version = 2\ndisabled_plugins = ${JSON.stringify(disabled)}`);
    const channel = channelTo(daemon.address);
    const metadata = { "containerd-namespace": daemon.namespace };
    const containers = createClient(channel, ContainersDefinition, { metadata });
    const tasks = createClient(channel, TasksDefinition, { metadata });
    const spec = JSON.parse(await output(["ctr", "oci", "spec"]));
    spec.process = { ...spec.process, args: ["/bin/sh", "-c", "cat /etc/mark; exit 3"], terminal: false };
    spec.linux.cgroupsPath = `${daemon.cgroup}/given`;
    fs.mkdirSync(path.join(daemon.dir.path, "upper/etc"), { recursive: true });
    fs.mkdirSync(path.join(daemon.dir.path, "work"));
    fs.writeFileSync(path.join(daemon.dir.path, "upper/etc/mark"), "from the upper directory");
    const layers = ["lowerdir", "upperdir", "workdir"].map((name, index) => {
      return `${name}=${[daemon.rootfs, `${daemon.dir.path}/upper`, `${daemon.dir.path}/work`][index]}`;
    });
    const unset = { image: "", labels: {}, snapshotter: "", snapshotKey: "", sandbox: "", extensions: {} };
    await containers.create({
      container: {
        ...{ ...unset, id: "given", createdAt: undefined, updatedAt: undefined },
        runtime: { name: "io.containerd.runc.v2", options: undefined },
        spec: {
          typeUrl: "types.containerd.io/opencontainers/runtime-spec/1/Spec",
          value: Buffer.from(JSON.stringify(spec)),
        },
      },
    });
    const stdout = path.join(daemon.dir.path, "out");
    await tasks.create({
      containerId: "given",
      rootfs: [{ type: "overlay", source: "overlay", target: "", options: layers }],
      ...{ stdin: "", stdout: `file://${stdout}`, stderr: "", terminal: false },
      ...{
        checkpoint: undefined,
        options: undefined,
        runtimePath: "",
        taskApiAddress: "",
        taskApiVersion: 0,
      },
    });
    await tasks.start({ containerId: "given", execId: "" });
    expect((await tasks.wait({ containerId: "given", execId: "" })).exitStatus).toBe(3);
    await tasks.delete({ containerId: "given" });
    expect(fs.readFileSync(stdout, "utf8")).toBe("from the upper directory");
    channel.close();
    await eventually(() => daemon.leaks().length === 0, { what: `no leaks: ${daemon.leaks()}` });
  });

  test("what a plugin that is switched off was needed for is shown as failed, and the rest works", async () => {
    await using daemon = await daemonWith(
      'version = 2\ndisabled_plugins = ["io.containerd.content.v1.content"]',
    );
    const there = await plugins(daemon);
    expect(there.get(grpc("content"))).toBe("error");
    expect(there.get(grpc("diff"))).toBe("error");
    expect(there.get(grpc("snapshots"))).toBe("ok");
    expect(await daemon.out("plugins", "ls", "-d", "id==diff")).toContain(
      "no plugins registered for io.containerd.content.v1",
    );
    expect(await echo(daemon, "bare")).toEqual({ status: 0, stdout: "runs\n", stderr: "" });
  });

  test("without the collector everything but images and leases is there", async () => {
    await using daemon = await daemonWith(
      'version = 2\ndisabled_plugins = ["io.containerd.gc.v1.scheduler"]',
    );
    const there = await plugins(daemon);
    expect(DATA.map((id) => there.get(`io.containerd.grpc.v1.${id}`))).toEqual([
      "ok",
      "ok",
      "error",
      "ok",
      "error",
    ]);
    expect(await daemon.out("snapshots", "prepare", "a")).toBe("");
    expect(await daemon.out("snapshots", "ls")).toContain("Active");
  });

  test("each can be switched off, and shows as gone; containers run without all that they don't need", async () => {
    await using all = await daemonWith("");
    const uris = [...(await plugins(all)).keys()];
    expect(uris.length).toBeGreaterThan(20);
    const NEEDED = /event\.v1\.exchange|runtime\.v2\.task|grpc\.v1\.(containers|tasks|introspection)$/;
    // Those whose absence the other tests show have no daemon of their own.
    const others = uris.filter(
      (uri) =>
        ![...STORES, ...RECORDS].includes(uri) && !DATA.some((id) => uri === `io.containerd.grpc.v1.${id}`),
    );
    for (const uri of others) {
      await using daemon = await daemonWith(`version = 2\ndisabled_plugins = [${JSON.stringify(uri)}]`);
      if (uri !== "io.containerd.grpc.v1.introspection")
        expect([...(await plugins(daemon)).keys()]).not.toContain(uri);
      else expect((await daemon.ctr("plugins", "ls")).stderr).toContain("does not implement the method");
      const { status } = await echo(daemon, "without");
      expect([uri, status === 0]).toEqual([uri, !NEEDED.test(uri) || uri.endsWith("introspection")]);
    }
  });

  test.each([
    [
      'required_plugins = ["io.containerd.grpc.v1.cri"]',
      "required plugin [io.containerd.grpc.v1.cri] not included",
    ],
    [
      'required_plugins = ["io.containerd.grpc.v1.content"]\ndisabled_plugins = ["io.containerd.content.v1.content"]',
      "load required plugin io.containerd.grpc.v1.content",
    ],
    ['disabled_plugins = ["cri"]', 'invalid disabled plugin URI "cri"'],
    ['imports = ["none.toml"]', "none.toml: no such file"],
  ])("the daemon doesn't start with %s", async (config, message) => {
    expect(await daemonWith(`version = 2\n${config}`).then(() => "", String)).toContain(message);
  });

  test("imported files count, for `config dump` too", async () => {
    await using daemon = new Daemon();
    const { path: dir } = daemon.dir;
    fs.writeFileSync(path.join(dir, "more.toml"), 'disabled_plugins = ["io.containerd.grpc.v1.version"]');
    fs.writeFileSync(
      path.join(dir, "config.toml"),
      `version = 3\nimports = ["more.*"]\nroot = "${dir}/elsewhere"`,
    );
    const config = ["--config", path.join(dir, "config.toml")];
    const dump = await run([path.join(binDir, "containerd"), ...config, "config", "dump"]);
    expect(dump.stdout).toContain('disabled_plugins = ["io.containerd.grpc.v1.version"]');
    expect(dump.stdout).toContain(`root = "${dir}/elsewhere"`);
    await daemon.start(...config);
    expect((await daemon.ctr("version")).stderr).toContain("does not implement the method");
  });

  test("a snapshotter's root_path is where its snapshots are", async () => {
    await using daemon = new Daemon();
    const { path: dir } = daemon.dir;
    const file = path.join(dir, "config.toml");
    fs.writeFileSync(file, `[plugins."io.containerd.snapshotter.v1.native"]\nroot_path = "${dir}/natives"`);
    await daemon.start("--config", file);
    await daemon.out("snapshots", "--snapshotter", "native", "prepare", "a");
    expect(fs.readdirSync(path.join(dir, "natives/snapshots"))).toEqual(["1"]);
  });
});
