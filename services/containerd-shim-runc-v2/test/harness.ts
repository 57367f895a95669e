import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { TaskDefinition } from "@longshore/api/containerd/runtime/task/v2/shim";
import { TaskDefinition as TaskDefinition3 } from "@longshore/api/containerd/runtime/task/v3/shim";
import { EventsDefinition } from "@longshore/api/containerd/services/ttrpc/events/v1/events";
import { Options } from "@longshore/api/containerd/types/runc/options/oci";
import { type AnyEvent, eventFromAny } from "@longshore/events";
import { connectTtrpc, createTtrpcClient, serveTtrpc, type TtrpcClientOf } from "@longshore/ttrpc";

const PATH = `${process.env.PATH}:/usr/sbin:/sbin`;

/** The binary under test: LONGSHORE_SHIM, or what the build made. */
export const shimBinary =
  process.env.LONGSHORE_SHIM ?? path.resolve(import.meta.dir, "../../../dist/bin/containerd-shim-runc-v2");
/** The runtimes to run against: Debian's runc is the peer, ours beside it when it is built. */
export const peerRunc = Bun.which("runc", { PATH });
const built = path.join(path.dirname(shimBinary), "runc");
export const ownRunc = fs.existsSync(built) ? built : undefined;
export const busybox = Bun.which("busybox", { PATH });
export const canRun = process.getuid?.() === 0 && fs.existsSync(shimBinary) && !!peerRunc && !!busybox;

/** A directory with containerd's events endpoint in it, and the containers that a test makes; disposing removes all. */
export class Harness implements AsyncDisposable {
  readonly dir = fs.mkdtempSync(path.join(os.tmpdir(), "ls-shim-"));
  readonly events: AnyEvent[] = [];
  /** Metadata `longshore-published` of each event. */
  readonly published: (string | undefined)[] = [];
  readonly #server = serveTtrpc();
  readonly #containers: TestContainer[] = [];

  constructor() {
    this.#server.add(EventsDefinition, {
      forward: ({ envelope }, { metadata }) => {
        this.events.push(eventFromAny(envelope?.topic ?? "", envelope?.event));
        this.published.push(metadata("longshore-published"));
        return {};
      },
    });
    this.#server.listen(path.join(this.dir, "c.sock.ttrpc"));
  }

  topics(container: { id: string }): string[] {
    return this.events
      .filter((e) => "containerId" in e.event && e.event.containerId === container.id)
      .map((e) => e.topic);
  }

  async container(options: ContainerOptions): Promise<TestContainer> {
    const container = new TestContainer(this.dir, options);
    this.#containers.push(container);
    await container.boot();
    return container;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const container of this.#containers) await container.destroy();
    this.#server.close();
    removeCgroups();
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

export interface ContainerOptions {
  args: string[];
  runc?: string | undefined;
  /** The binary under test when left out. */
  shim?: string;
  terminal?: boolean;
  env?: Record<string, string>;
  /** The runtime option. */
  shimCgroup?: string;
  /** False: the test starts the shim itself. */
  boot?: boolean;
  /** Don't connect over ttrpc. */
  connect?: boolean;
  /** Changes to the specification before it is written. */
  edit?: (spec: OciSpec) => void;
}

export interface OciSpec {
  process: { args: string[]; terminal: boolean; [key: string]: unknown };
  root: { path: string; readonly: boolean };
  linux: { cgroupsPath?: string; resources?: unknown; [key: string]: unknown };
  [key: string]: unknown;
}

const CGROUP = `/ls-shim-test-${process.pid}`;

/** The parent of the tests' cgroups, which runc makes and nobody else removes. */
function removeCgroups(): void {
  for (const mount of ["", ...fs.readdirSync("/sys/fs/cgroup")]) {
    try {
      fs.rmdirSync(path.join("/sys/fs/cgroup", mount, CGROUP));
    } catch {
      // not in this hierarchy
    }
  }
}

let counter = 0;

/** A bundle with busybox as its root, and its shim. */
export class TestContainer {
  readonly id = `t${process.pid}-${counter++}`;
  readonly namespace = "shimtest";
  readonly bundle: string;
  readonly dir: string;
  readonly options: ContainerOptions;
  address = "";
  /** The last `start`. */
  started: Bun.Subprocess | undefined;
  task!: TtrpcClientOf<TaskDefinition>;
  #close: () => void = () => {};

  constructor(dir: string, options: ContainerOptions) {
    this.dir = dir;
    this.options = options;
    this.bundle = path.join(dir, "b", this.id);
    fs.mkdirSync(path.join(this.bundle, "image/bin"), { recursive: true });
    fs.mkdirSync(path.join(this.bundle, "image/proc"));
    fs.mkdirSync(path.join(this.bundle, "image/dev"));
    fs.mkdirSync(path.join(this.bundle, "image/sys"));
    const inside = path.join(this.bundle, "image/bin/busybox");
    fs.copyFileSync(busybox ?? "", inside);
    for (const name of [
      "sh",
      "cat",
      "echo",
      "sleep",
      "seq",
      "stty",
      "head",
      "yes",
      "kill",
      "true",
      "dd",
      "ls",
      "mkdir",
    ]) {
      fs.symlinkSync("busybox", path.join(this.bundle, "image/bin", name));
    }
    this.#writeSpec();
  }

  /** Options that make runc keep its state in the test's directory. */
  get runtimeOptions() {
    const value = Options.encode(
      Options.fromPartial({
        binaryName: this.options.runc ?? peerRunc ?? "",
        root: path.join(this.dir, "runc"),
        shimCgroup: this.options.shimCgroup ?? "",
      }),
    ).finish();
    return { typeUrl: "containerd.runc.v1.Options", value: Buffer.from(value) };
  }

  async boot(): Promise<void> {
    if (this.options.boot === false) return;
    this.address = await this.startShim();
    if (this.options.connect !== false) await this.connect();
  }

  /** For `delete`, another's may be gone. */
  get #shim(): string {
    const { shim = shimBinary } = this.options;
    return fs.existsSync(shim) ? shim : shimBinary;
  }

  get environment(): Record<string, string> {
    return {
      PATH: PATH,
      TTRPC_ADDRESS: path.join(this.dir, "c.sock.ttrpc"),
      BUN_JSC_useConcurrentJIT: "0",
      BUN_JSC_numberOfGCMarkers: "1",
      BUN_JSC_useConcurrentGC: "0",
      ...this.options.env,
    };
  }

  command(...action: string[]): string[] {
    const common = [
      "-namespace",
      this.namespace,
      "-address",
      path.join(this.dir, "c.sock"),
      "-publish-binary",
      "/bin/true",
    ];
    return [this.#shim, ...common, "-id", this.id, ...action];
  }

  async startShim(
    stdin: Uint8Array = new Uint8Array(0),
    env: Record<string, string | undefined> = {},
  ): Promise<string> {
    const child = Bun.spawn(this.command("start"), {
      cwd: this.bundle,
      env: { ...this.environment, ...env },
      stdio: [stdin, "pipe", "pipe"],
    });
    this.started = child;
    // With both ended it keeps nothing of ours open; with LONGSHORE_SHIM_STAY it goes on.
    const [out, error] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    if (this.environment.LONGSHORE_SHIM_STAY === "1" && out !== "") return out;
    if ((await child.exited) !== 0) throw new Error(`shim start: ${error}`);
    // containerd takes both streams for the answer.
    return `${out}${error}`;
  }

  /** @param version of the task service */
  async connect(version: 2 | 3 = 2): Promise<void> {
    const connection = await connectTtrpc(this.address);
    this.#close = () => connection.close();
    const definition = version === 2 ? TaskDefinition : (TaskDefinition3 as unknown as TaskDefinition);
    this.task = createTtrpcClient(connection, definition, { timeoutMs: 20_000 });
  }

  get shimPid(): number {
    return Number(fs.readFileSync(path.join(this.bundle, "shim.pid"), "utf8"));
  }

  /** Create with busybox's root bind-mounted, as a snapshotter would have it. */
  create(io: { stdin?: string; stdout?: string; stderr?: string } = {}) {
    return this.task.create({
      id: this.id,
      bundle: this.bundle,
      rootfs: [
        { type: "bind", source: path.join(this.bundle, "image"), target: "", options: ["rbind", "rw"] },
      ],
      terminal: this.options.terminal ?? false,
      stdin: "",
      stdout: "",
      stderr: "",
      checkpoint: "",
      parentCheckpoint: "",
      ...io,
      options: this.runtimeOptions,
    });
  }

  start(execId = "") {
    return this.task.start({ id: this.id, execId });
  }

  wait(execId = "") {
    return this.task.wait({ id: this.id, execId });
  }

  kill(signal: number, execId = "") {
    return this.task.kill({ id: this.id, execId, signal, all: false });
  }

  delete(execId = "") {
    return this.task.delete({ id: this.id, execId });
  }

  exec(
    execId: string,
    args: string[],
    io: { stdin?: string; stdout?: string; stderr?: string; terminal?: boolean } = {},
  ) {
    const spec = { args, cwd: "/", env: ["PATH=/bin"], user: { uid: 0, gid: 0 }, capabilities: {} };
    return this.task.exec({
      id: this.id,
      execId,
      terminal: false,
      stdin: "",
      stdout: "",
      stderr: "",
      ...io,
      spec: {
        typeUrl: "types.containerd.io/opencontainers/runtime-spec/1/Process",
        value: Buffer.from(JSON.stringify(spec)),
      },
    });
  }

  /** Run the process to its end, delete it, end the shim. */
  async finish(): Promise<{ exitStatus: number }> {
    const { exitStatus } = await this.wait();
    await this.delete();
    await this.shutdown();
    return { exitStatus };
  }

  async shutdown(): Promise<void> {
    const pid = this.shimPid;
    await this.task.shutdown({ id: this.id, now: false });
    await until(() => !isAlive(pid), "the shim to end");
  }

  /** Leave nothing, whatever the test left. */
  async destroy(): Promise<void> {
    this.#close();
    if (!fs.existsSync(this.bundle)) return;
    const child = Bun.spawn(this.command("-bundle", this.bundle, "delete"), {
      cwd: this.bundle,
      env: this.environment,
      stdio: ["ignore", "ignore", "ignore"],
    });
    await child.exited;
  }

  #writeSpec(): void {
    Bun.spawnSync([peerRunc ?? "", "spec"], { cwd: this.bundle });
    const file = path.join(this.bundle, "config.json");
    const spec = JSON.parse(fs.readFileSync(file, "utf8")) as OciSpec;
    spec.process.args = this.options.args;
    spec.process.terminal = this.options.terminal ?? false;
    spec.process.env = ["PATH=/bin", "TERM=xterm"];
    spec.root = { path: "rootfs", readonly: false };
    spec.linux.cgroupsPath = `${CGROUP}/${this.id}`;
    spec.mounts = (spec.mounts as { destination: string }[]).filter(
      (m) => m.destination !== "/sys/fs/cgroup",
    );
    this.options.edit?.(spec);
    fs.writeFileSync(file, JSON.stringify(spec));
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(fs.readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  timeoutMs = 20_000,
): Promise<void> {
  for (const end = Date.now() + timeoutMs; !(await condition()); await Bun.sleep(5)) {
    if (Date.now() > end) throw new Error(`timed out waiting for ${what}`);
  }
}

/** The entries of a json-file log. */
export function logEntries(file: string): { log: string; stream: string; time: string }[] {
  return fs
    .readFileSync(file, "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as { log: string; stream: string; time: string });
}
