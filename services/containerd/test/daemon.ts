import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { isErrno } from "@longshore/errors";
import { mixedBinDir } from "@longshore/suite";
import { type CommandResult, eventually, output, run, tempDir } from "@longshore/testkit";

/** The built binaries; another directory may be named to test those in it. */
export const binDir =
  process.env.LONGSHORE_TEST_BIN_DIR ?? path.resolve(import.meta.dirname, "../../../dist/bin");

/** Shims to run containers with, as clients name the runtime. */
export const SHIMS = [
  {
    name: "Debian's shim",
    runtime: "/usr/bin/containerd-shim-runc-v2",
    binary: "/usr/bin/containerd-shim-runc-v2",
  },
  {
    name: "our shim",
    runtime: path.join(binDir, "containerd-shim-runc-v2"),
    binary: path.join(binDir, "containerd-shim-runc-v2"),
  },
] as const;
export interface Shim {
  readonly name: string;
  readonly runtime: string;
  readonly binary: string;
}

/** Those that are there. */
export const present = SHIMS.filter(({ binary }) => fs.existsSync(binary));

/** The original, for tests of our shim under it. */
export const REAL_CONTAINERD = "/usr/bin/containerd";

export const haveCtr = fs.existsSync("/usr/bin/ctr");

export interface DaemonOptions {
  env?: Readonly<Record<string, string>>;
  /** The shim that it finds as `io.containerd.runc.v2`; ours when left out. */
  shim?: Shim;
  /** The original in place of ours. */
  real?: boolean;
  /** Directory of its socket, made when missing. */
  socketDir?: string;
}

/** A containerd of our own, on directories of its own. */
export class Daemon implements AsyncDisposable {
  readonly dir = tempDir();
  readonly address: string;
  readonly root = path.join(this.dir.path, "root");
  readonly state = path.join(this.dir.path, "state");
  readonly rootfs = path.join(this.dir.path, "rootfs");
  /** Its own, since real shims keep runc's state in one directory for all daemons. */
  readonly namespace = path.basename(this.dir.path);
  /** Parent of its containers' cgroups. */
  readonly cgroup = `/${this.namespace}`;
  readonly logFile = path.join(this.dir.path, "log");
  readonly #ctr: readonly string[];
  #process: ChildProcess | undefined;

  readonly #env: Readonly<Record<string, string>>;
  readonly #binDir: string;
  readonly #real: boolean;

  constructor({ env = {}, shim, real = false, socketDir = this.dir.path }: DaemonOptions = {}) {
    this.#env = env;
    this.#real = real;
    this.address = path.join(socketDir, socketDir === this.dir.path ? "c.sock" : `${this.namespace}.sock`);
    this.#ctr = ["/usr/bin/ctr", "--address", this.address, "--namespace", this.namespace];
    this.#binDir = shim && path.dirname(shim.binary) !== binDir ? binDirWith(shim) : binDir;
    makeRootfs(this.rootfs);
  }

  static async start(...args: string[]): Promise<Daemon> {
    const daemon = new Daemon();
    await daemon.start(...args);
    return daemon;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** Start it and wait until it serves. */
  async start(...args: string[]): Promise<void> {
    const places = ["--address", this.address, "--root", this.root, "--state", this.state];
    const log = fs.openSync(this.logFile, "a");
    const before = fs.fstatSync(log).size;
    const ours = path.join(this.#binDir, "containerd");
    const [binary, config] = this.#real ? [REAL_CONTAINERD, ["--config", this.#writeConfig()]] : [ours, []];
    const child = spawn(binary, [...config, ...places, ...args], {
      stdio: ["ignore", log, log],
      env: { ...process.env, ...this.#env },
    });
    fs.closeSync(log);
    this.#process = child;
    const ready = this.#real ? "containerd successfully booted" : '"msg":"serving"';
    const serving = () => this.log().slice(before).includes(ready);
    await eventually(() => child.exitCode !== null || serving(), { what: "containerd serving" });
    if (child.exitCode !== null) throw new Error(`containerd ended with ${child.exitCode}: ${this.log()}`);
  }

  #writeConfig(): string {
    const file = path.join(this.dir.path, "config.toml");
    fs.writeFileSync(file, 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n');
    return file;
  }

  /** Send it a signal, and wait for its end. */
  async signal(name: NodeJS.Signals): Promise<number | null> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
    child.kill(name);
    return await ended;
  }

  log(): string {
    return fs.readFileSync(this.logFile, "utf8");
  }

  async ctr(...args: string[]): Promise<CommandResult> {
    return await run([...this.#ctr, ...args], { timeoutMs: 30_000 });
  }

  /** `ctr` that must succeed; what it printed. */
  async out(...args: string[]): Promise<string> {
    return await output([...this.#ctr, ...args], { timeoutMs: 30_000 });
  }

  /** `ctr run` of a command in the busybox rootfs. */
  async run(shim: Shim, flags: string[], id: string, ...command: string[]): Promise<CommandResult> {
    const own = ["--runtime", shim.runtime, "--cgroup", `${this.cgroup}/${id}`, "--rootfs"];
    return await this.ctr("run", ...flags, ...own, this.rootfs, id, ...command);
  }

  /** `run` in the background, which must succeed; the pid of its init process. */
  async runDetached(shim: Shim, id: string, ...command: string[]): Promise<number> {
    const { status, stderr } = await this.run(shim, ["-d"], id, ...command);
    if (status !== 0) throw new Error(`ctr run ${id}: ${stderr}`);
    return Number((await this.tasks()).find(([name]) => name === id)?.[1]);
  }

  /** What `ctr events` prints from now on, a line each. */
  events(...filters: string[]): { lines: string[]; stop(): void } {
    const child = spawn("/usr/bin/ctr", [...this.#ctr.slice(1), "events", ...filters]);
    const events = { lines: [] as string[], stop: () => void child.kill() };
    let rest = "";
    child.stdout.on("data", (chunk: Buffer) => {
      const parts = (rest + chunk.toString()).split("\n");
      rest = parts.pop() ?? "";
      events.lines.push(...parts);
    });
    return events;
  }

  /** `ID PID STATUS` of each task. */
  async tasks(): Promise<string[][]> {
    const lines = (await this.out("tasks", "ls")).split("\n").slice(1);
    return lines.map((line) => line.trim().split(/\s+/));
  }

  async status(id: string): Promise<string | undefined> {
    return (await this.tasks()).find(([name]) => name === id)?.[2];
  }

  bundle(id: string, namespace = this.namespace): string {
    return path.join(this.state, "io.containerd.runtime.v2.task", namespace, id);
  }

  /** The shim that serves a container. */
  shimPid(id: string): number {
    return processesWith(`\0-id\0${id}\0`, `${this.address}\0`)[0] ?? 0;
  }

  /** Processes, bundles and cgroups that a container left. */
  leaks(): string[] {
    const found = processesWith(this.dir.path).filter((pid) => pid !== this.pid && pid !== process.pid);
    const bundles = fs
      .globSync(path.join(this.state, "*/*/*"))
      .concat(fs.globSync(path.join(this.root, "*task/*/*")));
    const groups = this.#cgroups().flatMap(directoriesIn);
    return [...found.map((pid) => `process ${pid} ${commandLineOf(pid)}`), ...bundles, ...groups];
  }

  /** In each hierarchy that has it. */
  #cgroups(): string[] {
    const hierarchies = ["/sys/fs/cgroup", ...directoriesIn("/sys/fs/cgroup")];
    return hierarchies.map((at) => path.join(at, this.cgroup)).filter((group) => fs.existsSync(group));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process?.exitCode === null && this.#process.signalCode === null) {
      const { stdout } = await this.ctr("tasks", "ls", "-q");
      for (const id of stdout.split("\n").filter(Boolean)) await this.ctr("tasks", "delete", "--force", id);
    }
    await this.signal("SIGKILL");
    for (const pid of processesWith(this.dir.path)) if (pid !== process.pid) killIfThere(pid);
    for (const group of this.#cgroups()) {
      for (const child of directoriesIn(group)) fs.rmdirSync(child);
      fs.rmdirSync(group);
    }
    // Where real shims have runc keep its state.
    fs.rmSync(path.join("/run/containerd/runc", this.namespace), { recursive: true, force: true });
    for (const socket of [this.address, `${this.address}.ttrpc`]) fs.rmSync(socket, { force: true });
    if (this.#binDir !== binDir) fs.rmSync(this.#binDir, { recursive: true });
    this.dir[Symbol.dispose]();
  }
}

/** Our executables with another shim, beside ours: hard links don't cross file systems. */
function binDirWith({ binary }: Shim): string {
  const dir = fs.mkdtempSync(path.join(path.dirname(binDir), "mixed-"));
  return mixedBinDir({ from: binDir, dir, replace: { [path.basename(binary)]: binary } });
}

function directoriesIn(directory: string): string[] {
  const entries = fs.readdirSync(directory, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => path.join(directory, name));
}

/** Empty when it has ended. */
function commandLineOf(pid: number): string {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return "";
  }
}

/** Processes whose command line holds all of these. */
export function processesWith(...parts: string[]): number[] {
  return fs.readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const commandLine = `\0${fs.readFileSync(`/proc/${name}/cmdline`, "utf8")}`;
      return parts.every((part) => commandLine.includes(part)) ? [Number(name)] : [];
    } catch {
      return []; // it has ended
    }
  });
}

function makeRootfs(rootfs: string): void {
  for (const name of ["bin", "proc", "dev", "sys", "etc", "tmp"]) {
    fs.mkdirSync(path.join(rootfs, name), { recursive: true });
  }
  fs.copyFileSync("/bin/busybox", path.join(rootfs, "bin/busybox"));
  fs.chmodSync(path.join(rootfs, "bin/busybox"), 0o755);
  for (const applet of ["sh", "sleep", "echo", "cat", "ps", "kill", "true"]) {
    fs.symlinkSync("busybox", path.join(rootfs, "bin", applet));
  }
}

/** It may have ended since it was looked for. */
function killIfThere(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (!isErrno(error, "ESRCH")) throw error;
  }
}
