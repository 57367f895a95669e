import fs from "node:fs";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { timed } from "./command.ts";
import type { Attempt, Benchmark, Contender } from "./measure.ts";

/** What a container needs at least, with what costs time: all namespaces, the usual mounts, a cgroup, capabilities. */
function spec(cgroupsPath: string, args: readonly string[], everyDevice: boolean): unknown {
  const mount = (destination: string, type: string, ...options: string[]) => ({
    ...{ destination, type, source: type },
    options: ["nosuid", "noexec", ...options],
  });
  const capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
  return {
    ociVersion: "1.0.2",
    process: {
      user: { uid: 0, gid: 0 },
      args,
      env: ["PATH=/bin"],
      cwd: "/",
      noNewPrivileges: true,
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      rlimits: [{ type: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }],
    },
    root: { path: "rootfs", readonly: true },
    hostname: "bench",
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      mount("/dev", "tmpfs", "strictatime", "mode=755", "size=65536k"),
      mount("/dev/pts", "devpts", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
      mount("/dev/shm", "tmpfs", "nodev", "mode=1777", "size=65536k"),
      mount("/dev/mqueue", "mqueue", "nodev"),
      mount("/sys", "sysfs", "nodev", "ro"),
    ],
    linux: {
      cgroupsPath,
      resources: {
        devices: [{ allow: everyDevice, access: "rwm" }],
        ...(!everyDevice && { memory: { limit: 268_435_456 } }),
      },
      namespaces: ["pid", "network", "ipc", "uts", "mount"].map((type) => ({ type })),
      maskedPaths: ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
      readonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    },
  };
}

interface BundleOptions {
  cgroupsPath: string;
  args: readonly string[];
  /** All devices allowed and no limit of memory: for where not every controller is, nor the right to load programs for devices. */
  everyDevice: boolean;
}

function makeBundle(dir: string, busybox: string, { cgroupsPath, args, everyDevice }: BundleOptions): void {
  const rootfs = path.join(dir, "rootfs");
  for (const name of ["bin", "dev", "proc", "sys"])
    fs.mkdirSync(path.join(rootfs, name), { recursive: true });
  fs.copyFileSync(busybox, path.join(rootfs, "bin/busybox"));
  for (const name of ["true", "sleep"])
    fs.linkSync(path.join(rootfs, "bin/busybox"), path.join(rootfs, "bin", name));
  fs.writeFileSync(path.join(dir, "config.json"), JSON.stringify(spec(cgroupsPath, args, everyDevice)));
}

export interface RuntimeOptions {
  dir: string;
  busybox: string;
  cgroupParent: string;
  runtimes: ReadonlyMap<Contender, string>;
}

/** One runtime with a bundle of its own. */
interface Runtime {
  /** Run one of its commands to the end. */
  command: (...args: string[]) => ReturnType<typeof timed>;
  argv: (...args: string[]) => string[];
  dir: string;
}

/** The same benchmark for each of the runtimes. */
function perRuntime(
  name: string,
  { dir, busybox, cgroupParent, runtimes }: RuntimeOptions,
  how: {
    bar: number;
    unit?: Benchmark["unit"];
    args?: readonly string[];
    everyDevice?: boolean;
    attempt: (runtime: Runtime, id: string) => Promise<number>;
  },
): Benchmark {
  const contenders = new Map<Contender, Attempt>();
  const label = name.replaceAll(/\W+/g, "-");
  for (const [contender, executable] of runtimes) {
    const own = path.join(dir, label, contender);
    const { args = ["/bin/true"], everyDevice = false } = how;
    makeBundle(own, busybox, { cgroupsPath: `${cgroupParent}/${label}-${contender}`, args, everyDevice });
    const argv = (...words: string[]) => [executable, "--root", path.join(own, "root"), ...words];
    const command = (...words: string[]) => timed(argv(...words), { quiet: true });
    contenders.set(contender, (round) => how.attempt({ command, argv, dir: own }, `bench-${round}`));
  }
  return { name, bar: how.bar, ...(how.unit && { unit: how.unit }), contenders };
}

/** What a runtime is asked to do, by itself. */
export function runtimeBenchmarks(options: RuntimeOptions): Benchmark[] {
  const sleep = ["/bin/sleep", "100000"];
  return [
    perRuntime("runc create + start + delete", options, { bar: 0.5, attempt: cycle }),
    perRuntime("runc run", options, { bar: 0.5, attempt: run }),
    perRuntime("runc exec", options, { bar: 0.5, args: sleep, attempt: exec }),
    perRuntime("runc create, peak memory", options, {
      ...{ bar: 0.7, unit: "MB", args: sleep },
      attempt: (runtime, id) => peakMemory(runtime, id, options.busybox),
    }),
  ];
}

/** `run` beside crun, where only cgroup v2 is to be seen; the "real" one is crun. */
export function crunBenchmark(options: RuntimeOptions): Benchmark {
  return perRuntime("runc run, beside crun", options, { bar: 1.5, everyDevice: true, attempt: run });
}

/** `create`, `start` and `delete` of a container whose process ends at once; waiting for that end is not counted. */
async function cycle({ command, dir }: Runtime, id: string): Promise<number> {
  const pidFile = path.join(dir, "pid");
  const create = await command("create", "--bundle", dir, "--pid-file", pidFile, id);
  const start = await command("start", id);
  await ended(Number(fs.readFileSync(pidFile, "utf8")));
  const remove = await command("delete", id);
  return create.ms + start.ms + remove.ms;
}

async function run({ command, dir }: Runtime, id: string): Promise<number> {
  return (await command("run", "--bundle", dir, id)).ms;
}

/** Only the exec is counted; each has a container of its own. */
async function exec({ command, dir }: Runtime, id: string): Promise<number> {
  await command("run", "--detach", "--bundle", dir, id);
  try {
    return (await command("exec", id, "/bin/true")).ms;
  } finally {
    await command("delete", "--force", id);
  }
}

/** The most memory that `create` had at a time, in MB (10^6 bytes); told by busybox, whose own is too small to count. */
async function peakMemory({ command, argv, dir }: Runtime, id: string, busybox: string): Promise<number> {
  const report = path.join(dir, "time");
  // To a file: the container keeps the streams.
  const script = 'exec "$0" time -v "$@" 2>"$REPORT" >/dev/null';
  await timed(["sh", "-c", script, busybox, ...argv("create", "--bundle", dir, id)], {
    env: { REPORT: report },
    quiet: true,
  });
  await command("delete", "--force", id);
  const kilobytes = /Maximum resident set size \(kbytes\): (\d+)/.exec(fs.readFileSync(report, "utf8"))?.[1];
  if (kilobytes === undefined) throw new Error(`busybox time has reported no memory: ${report}`);
  // It takes the kernel's kilobytes for pages, and prints four times as many.
  return ((Number(kilobytes) / 4) * 1024) / 1e6;
}

/** Wait until a process is gone or waits to be reaped. */
async function ended(pid: number): Promise<void> {
  for (;;) {
    let stat: string;
    try {
      stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    } catch {
      return;
    }
    if (/^\d+ \(.*\) [ZX]/.test(stat)) return;
    await delay(1);
  }
}
