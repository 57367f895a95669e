import { test } from "bun:test";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import type { Mount, Process, Spec } from "@longshore/oci";

/** The runtime under test; LONGSHORE_RUNC takes a real one, which checks the tests themselves. */
export const runc =
  process.env.LONGSHORE_RUNC ??
  path.resolve(process.env.LONGSHORE_TEST_BIN_DIR ?? path.join(import.meta.dir, "../../../dist/bin"), "runc");

const BUSYBOX = "/bin/busybox";

/** Why no container can be made here, or undefined. */
export const missing: string | undefined = [
  [process.getuid?.() !== 0, "not root"],
  [!fs.existsSync(BUSYBOX), `${BUSYBOX} is missing (package busybox-static)`],
  [!fs.existsSync(runc), `${runc} is not built`],
].find(([isMissing]) => isMissing)?.[1] as string | undefined;
if (missing) skipped(`tests of runc: ${missing}`);

/** A test that makes containers. */
export const it = missing ? test.skip : test;

/** Why no user namespace can be made here (the kernel refuses it in a chroot), or undefined. */
export const noUsers =
  spawnSync("unshare", ["--user", "true"]).status === 0 ? undefined : "user namespaces can't be made here";
if (noUsers) skipped(`tests of runc with user namespaces: ${noUsers}`);

/** A test that makes containers with a user namespace. */
export const itWithUsers = noUsers ? test.skip : it;

/** Tell the test driver why something is not tested. */
export function skipped(reason: string): void {
  console.log(`# skipped: ${reason}`);
}

/** Whether the process that runs the tests sees cgroup v2 alone. */
export const unified = fs.existsSync("/sys/fs/cgroup/cgroup.controllers");

/** The controllers of cgroup v2 that can be had here, or the names of the mounted hierarchies. */
export const controllers: readonly string[] = unified
  ? fs.readFileSync("/sys/fs/cgroup/cgroup.controllers", "utf8").trim().split(" ")
  : fs.readdirSync("/sys/fs/cgroup").filter((name) => fs.existsSync(`/sys/fs/cgroup/${name}/cgroup.procs`));

export const BASE_MOUNTS: readonly Mount[] = [
  { destination: "/proc", type: "proc", source: "proc" },
  { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "strictatime", "mode=755"] },
  {
    destination: "/dev/pts",
    type: "devpts",
    source: "devpts",
    options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
  },
  {
    destination: "/dev/shm",
    type: "tmpfs",
    source: "shm",
    options: ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
  },
  { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
  { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
];

export const CGROUP_MOUNT: Mount = {
  destination: "/sys/fs/cgroup",
  type: "cgroup",
  source: "cgroup",
  options: ["nosuid", "noexec", "nodev", "relatime", "ro"],
};

const CAPS = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

/** Members of a configuration to change: objects are merged, anything else takes the place of what is there; undefined removes. */
export type Patch = { [key: string]: unknown };

export type Config = Spec & { process: Process; mounts: Mount[]; linux: NonNullable<Spec["linux"]> };

const isObject = (value: unknown): value is Patch =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function merge(into: unknown, patch: unknown): unknown {
  if (!isObject(patch) || !isObject(into)) return patch;
  const result: Patch = { ...into };
  for (const [key, value] of Object.entries(patch)) result[key] = merge(result[key], value);
  return result;
}

/** Several changes as one; a later one wins. */
export function combine(...patches: Patch[]): Patch {
  return patches.reduce<unknown>(merge, {}) as Patch;
}

export interface Result {
  /** Exit status, 128 when a signal ended it, -1 when it hung and was killed. */
  code: number;
  stdout: string;
  stderr: string;
}

export interface CommandOptions {
  stdin?: string;
  cwd?: string;
  env?: Record<string, string>;
  timeoutMs?: number;
  /** Global flags of runc, before the command. */
  global?: string[];
  /** More descriptors to inherit: 3 and on. */
  fds?: number[];
}

/** The names of the kernel's cgroup hierarchies' mount points. */
export function groupMounts(): { at: string; version: 1 | 2 }[] {
  const lines = fs.readFileSync("/proc/self/mounts", "utf8").split("\n");
  const found = new Map<string, 1 | 2>();
  for (const line of lines) {
    const [, at = "", type] = line.split(" ");
    if (!at.startsWith("/sys/fs/cgroup")) continue;
    if (type === "cgroup") found.set(at, 1);
    if (type === "cgroup2") found.set(at, 2);
  }
  return [...found].map(([at, version]) => ({ at, version }));
}

/** What lies below a directory, itself not. */
function directoriesBelow(dir: string): string[] {
  if (!fs.existsSync(dir)) return [];
  const children = fs
    .readdirSync(dir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => path.join(dir, entry.name));
  return children.flatMap((child) => [child, ...directoriesBelow(child)]);
}

let playgrounds = 0;

/** A place for containers: a directory, a bundle with busybox as its root, cgroups below one parent. */
export class Playground implements Disposable {
  readonly dir: string;
  readonly root: string;
  readonly bundle: string;
  readonly rootfs: string;
  /** Parent of all its containers' cgroups. */
  readonly groupParent: string;
  #commands = 0;
  #ids = 0;

  constructor() {
    this.dir = fs.mkdtempSync("/tmp/ls-runc-");
    // A container with other user ids must be able to enter it.
    fs.chmodSync(this.dir, 0o711);
    this.root = path.join(this.dir, "state");
    this.bundle = path.join(this.dir, "bundle");
    this.rootfs = path.join(this.bundle, "rootfs");
    this.groupParent = `/ls-runc-${process.pid}-${playgrounds++}`;
    this.makeRootfs(this.rootfs);
  }

  /** A root file system with all applets of busybox. */
  makeRootfs(at: string): void {
    for (const name of ["bin", "proc", "sys", "dev", "etc", "tmp", "root", "home/user"])
      fs.mkdirSync(path.join(at, name), { recursive: true });
    if (missing) return;
    fs.copyFileSync(BUSYBOX, path.join(at, "bin/busybox"));
    const applets = Bun.spawnSync([BUSYBOX, "--list"]).stdout.toString().split("\n");
    for (const applet of applets) {
      if (applet !== "" && applet !== "busybox") fs.symlinkSync("busybox", path.join(at, "bin", applet));
    }
    fs.writeFileSync(
      path.join(at, "etc/passwd"),
      "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n",
    );
  }

  /** An id that was not used before. */
  id(prefix = "c"): string {
    return `${prefix}${this.#ids++}`;
  }

  groupOf(id: string): string {
    return `${this.groupParent}/${id}`;
  }

  /** A configuration in which everything is set that containers usually have. */
  config(...patches: Patch[]): Config {
    const base: Spec = {
      ociVersion: "1.0.2",
      process: {
        user: { uid: 0, gid: 0 },
        args: ["true"],
        env: ["PATH=/bin", "TERM=xterm"],
        cwd: "/",
        capabilities: { bounding: CAPS, effective: CAPS, permitted: CAPS },
        rlimits: [{ type: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }],
        noNewPrivileges: true,
      },
      root: { path: "rootfs" },
      hostname: "playground",
      mounts: [...BASE_MOUNTS],
      linux: {
        resources: { devices: [{ allow: false, access: "rwm" }] },
        namespaces: (["pid", "network", "ipc", "uts", "mount", "cgroup"] as const).map((type) => ({ type })),
        maskedPaths: ["/proc/kcore", "/proc/keys", "/sys/firmware"],
        readonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
      },
    };
    return patches.reduce<unknown>(merge, base) as Config;
  }

  /** Put a configuration into the bundle; a string as it is. */
  write(config: unknown, bundle = this.bundle): void {
    // A number of 64 bits loses its last digits in JavaScript; engines write "no limit" with all of them.
    const exact = (json: string) => json.replaceAll("18446744073709552000", "18446744073709551615");
    fs.writeFileSync(
      path.join(bundle, "config.json"),
      typeof config === "string" ? config : exact(JSON.stringify(config)),
    );
  }

  /** Run runc to its end. Its output goes to files: a created container keeps its streams open. */
  command(args: string[], options: CommandOptions = {}): Result {
    const base = path.join(this.dir, `out${this.#commands++}`);
    const stdin = options.stdin === undefined ? undefined : `${base}.in`;
    if (stdin !== undefined) fs.writeFileSync(stdin, options.stdin ?? "");
    const input = fs.openSync(stdin ?? "/dev/null", "r");
    const output = fs.openSync(`${base}.out`, "w+");
    const errors = fs.openSync(`${base}.err`, "w+");
    const timeout = options.timeoutMs ?? 20_000;
    const began = Date.now();
    try {
      const result = Bun.spawnSync([runc, "--root", this.root, ...(options.global ?? []), ...args], {
        stdio: [input, output, errors, ...(options.fds ?? [])],
        timeout,
        killSignal: "SIGKILL",
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
        ...(options.env === undefined ? {} : { env: { ...process.env, ...options.env } }),
      });
      return {
        code: Date.now() - began >= timeout ? -1 : result.signalCode ? 128 : result.exitCode,
        stdout: fs.readFileSync(`${base}.out`, "utf8"),
        stderr: fs.readFileSync(`${base}.err`, "utf8"),
      };
    } finally {
      for (const fd of [input, output, errors]) fs.closeSync(fd);
      for (const suffix of ["in", "out", "err"]) fs.rmSync(`${base}.${suffix}`, { force: true });
    }
  }

  /** As {@link command}, which must succeed; its stdout. */
  must(...args: string[]): string {
    const { code, stdout, stderr } = this.command(args);
    if (code !== 0) throw new Error(`runc ${args.join(" ")} exited with ${code}: ${stderr}`);
    return stdout;
  }

  /** Run a container of a configuration to its end; its cgroup is below {@link groupParent}. */
  run(config: Patch, options: CommandOptions & { flags?: string[]; id?: string } = {}): Result {
    const id = options.id ?? this.id();
    this.write(this.config({ linux: { cgroupsPath: this.groupOf(id) } }, config));
    return this.command(["run", "--bundle", this.bundle, ...(options.flags ?? []), id], options);
  }

  /** Run a script of busybox's shell in a container. */
  script(script: string, config: Patch = {}, options: CommandOptions = {}): Result {
    return this.run(combine({ process: { args: ["sh", "-c", script] } }, config), options);
  }

  /** Create a container, not started; it is removed with the object. */
  create(config: Patch = {}, options: CommandOptions & { flags?: string[]; id?: string } = {}): Created {
    const id = options.id ?? this.id();
    const patch = combine({ process: { args: ["sleep", "1000"] } }, config);
    this.write(this.config({ linux: { cgroupsPath: this.groupOf(id) } }, patch));
    const { code, stderr } = this.command(
      ["create", "--bundle", this.bundle, ...(options.flags ?? []), id],
      options,
    );
    if (code !== 0) throw new Error(`create exited with ${code}: ${stderr}`);
    return new Created(this, id);
  }

  /** Create and start a container that sleeps, if the configuration has nothing else. */
  start(config: Patch = {}, options: CommandOptions & { flags?: string[]; id?: string } = {}): Created {
    const created = this.create(config, options);
    this.must("start", created.id);
    return created;
  }

  /** Where {@link groupParent} may be in each hierarchy: below its root, or, by a path that isn't absolute, below our own group. */
  #groupParents(): string[] {
    const own = fs.readFileSync("/proc/self/cgroup", "utf8").matchAll(/^\d+:[^:]*:(.*)$/gm);
    const above = new Set(["/", ...Array.from(own, ([, group = "/"]) => group)]);
    return groupMounts().flatMap(({ at }) =>
      Array.from(above, (group) => path.join(at, group, this.groupParent)),
    );
  }

  /** Everything that containers of here have left on the machine. */
  leftovers(): string[] {
    const groups = this.#groupParents().flatMap(directoriesBelow);
    const mounts = fs
      .readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .filter((line) => line.includes(this.dir));
    // What starts with a dot is a cache.
    const states = fs.existsSync(this.root)
      ? fs.readdirSync(this.root).filter((name) => !name.startsWith("."))
      : [];
    return [
      ...groups.map((group) => `cgroup ${group}`),
      ...mounts.map((line) => `mount ${line}`),
      ...states.map((name) => `state ${name}`),
      ...this.processes(),
    ];
  }

  /** Processes that name this place in their command line or have their root in it. */
  processes(): string[] {
    return fs.readdirSync("/proc").flatMap((pid) => {
      if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return [];
      try {
        const commandLine = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
        const ours = [commandLine, fs.readlinkSync(`/proc/${pid}/root`), fs.readlinkSync(`/proc/${pid}/cwd`)];
        return ours.some((text) => text.includes(`${this.dir}/`)) ? [`process ${pid} ${commandLine}`] : [];
      } catch {
        return []; // ended
      }
    });
  }

  /** Remove all containers: one that a failed test has left would fail those after it. */
  clear(): void {
    const states = fs.existsSync(this.root) ? fs.readdirSync(this.root) : [];
    for (const id of states.filter((name) => !name.startsWith("."))) this.command(["delete", "--force", id]);
  }

  [Symbol.dispose](): void {
    this.clear();
    for (const parent of this.#groupParents()) {
      for (const dir of [parent, ...directoriesBelow(parent)].reverse()) {
        try {
          fs.rmdirSync(dir);
        } catch {
          // not there, or a test has failed and a process lives on in it
        }
      }
    }
    fs.rmSync(this.dir, { recursive: true, force: true });
  }
}

/** A container that was created. */
export class Created implements Disposable {
  readonly #playground: Playground;
  readonly id: string;

  constructor(playground: Playground, id: string) {
    this.#playground = playground;
    this.id = id;
  }

  state(): { status: string; pid: number } & Record<string, unknown> {
    return JSON.parse(this.#playground.must("state", this.id));
  }

  get pid(): number {
    return this.state().pid;
  }

  exec(args: string[], flags: string[] = [], options: CommandOptions = {}): Result {
    return this.#playground.command(["exec", ...flags, this.id, ...args], options);
  }

  /** Run a script inside. */
  script(script: string, flags: string[] = [], options: CommandOptions = {}): Result {
    return this.exec(["sh", "-c", script], flags, options);
  }

  /** The directories of its cgroups, by hierarchy; the unified one is named "". */
  groups(): Map<string, string> {
    const lines = fs.readFileSync(`/proc/${this.pid}/cgroup`, "utf8").trim().split("\n");
    const result = new Map<string, string>();
    for (const line of lines) {
      const [, names = "", ...rest] = line.split(":");
      const group = rest.join(":");
      for (const controller of names.split(",")) {
        const name = controller.replace(/^name=/, "");
        // The kernel tells of hierarchies as well that are mounted elsewhere.
        if (unified ? name !== "" : !controllers.includes(name || "unified")) continue;
        const at = name === "" ? (unified ? "" : "unified") : name;
        result.set(name, path.join("/sys/fs/cgroup", at, group));
      }
    }
    return result;
  }

  [Symbol.dispose](): void {
    this.#playground.command(["delete", "--force", this.id]);
  }
}
