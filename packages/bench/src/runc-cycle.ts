import fs from "node:fs";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { timed } from "./command.ts";
import type { Attempt, Benchmark, Contender } from "./measure.ts";

/** What a container needs at least, with what costs time: all namespaces, the usual mounts, a cgroup, capabilities. */
function spec(cgroupsPath: string): unknown {
  const mount = (destination: string, type: string, ...options: string[]) => ({
    ...{ destination, type, source: type },
    options: ["nosuid", "noexec", ...options],
  });
  const capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
  return {
    ociVersion: "1.0.2",
    process: {
      user: { uid: 0, gid: 0 },
      args: ["/bin/true"],
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
      resources: { devices: [{ allow: false, access: "rwm" }], memory: { limit: 268_435_456 } },
      namespaces: ["pid", "network", "ipc", "uts", "mount"].map((type) => ({ type })),
      maskedPaths: ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
      readonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    },
  };
}

function makeBundle(dir: string, busybox: string, cgroupsPath: string): void {
  const rootfs = path.join(dir, "rootfs");
  for (const name of ["bin", "dev", "proc", "sys"])
    fs.mkdirSync(path.join(rootfs, name), { recursive: true });
  fs.copyFileSync(busybox, path.join(rootfs, "bin/busybox"));
  fs.linkSync(path.join(rootfs, "bin/busybox"), path.join(rootfs, "bin/true"));
  fs.writeFileSync(path.join(dir, "config.json"), JSON.stringify(spec(cgroupsPath)));
}

/** `create`, `start` and `delete` of a container whose process ends at once; waiting for that end is not counted. */
export function runcCycle(options: {
  dir: string;
  busybox: string;
  cgroupParent: string;
  runtimes: ReadonlyMap<Contender, string>;
}): Benchmark {
  const { dir, busybox, cgroupParent, runtimes } = options;
  const contenders = new Map<Contender, Attempt>();
  for (const [contender, runc] of runtimes) {
    const own = path.join(dir, contender);
    makeBundle(own, busybox, `${cgroupParent}/runc-${contender}`);
    contenders.set(contender, (round) => cycle(runc, own, `bench-${round}`));
  }
  return { name: "runc create + start + delete", bar: 1, contenders };
}

async function cycle(runc: string, dir: string, id: string): Promise<number> {
  const command = (...args: string[]) =>
    timed([runc, "--root", path.join(dir, "root"), ...args], { quiet: true });
  const pidFile = path.join(dir, "pid");
  const create = await command("create", "--bundle", dir, "--pid-file", pidFile, id);
  const start = await command("start", id);
  await ended(Number(fs.readFileSync(pidFile, "utf8")));
  const remove = await command("delete", id);
  return create.ms + start.ms + remove.ms;
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
