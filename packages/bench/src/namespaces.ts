import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { removeCgroups } from "./cgroups.ts";

const INSIDE = "LONGSHORE_BENCH_INSIDE";

/**
 * The directory that was made for this run, when this process is in namespaces of its own. All that the daemons make (bridges,
 * firewall rules, mounts, processes that outlive their parents) ends with these, however the run ends.
 */
export function insideDirectory(): string | undefined {
  const dir = process.env[INSIDE];
  if (dir === undefined) return undefined;
  const { status, stderr } = spawnSync("ip", ["link", "set", "lo", "up"], { encoding: "utf8" });
  if (status !== 0) throw new Error(`ip link set lo up: ${stderr}`);
  return dir;
}

/**
 * From now on only the hierarchy of version 2 is at /sys/fs/cgroup, for this process and its children; crun refuses a hybrid
 * one. False where there is none.
 */
export function seeOnlyCgroup2(): boolean {
  if (fs.existsSync("/sys/fs/cgroup/cgroup.controllers")) return true;
  if (!fs.existsSync("/sys/fs/cgroup/unified/cgroup.controllers")) return false;
  const argv = ["--bind", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
  const { status, stderr } = spawnSync("mount", argv, { encoding: "utf8" });
  if (status !== 0) throw new Error(`mount ${argv.join(" ")}: ${stderr}`);
  return true;
}

/**
 * Put a new ext4 at a directory, in a sparse file beside it, so that what else is done to the machine's file system doesn't matter. Where that
 * can't be had the directory stays as it is.
 */
export function useFreshFileSystem(dir: string): void {
  const file = `${dir}.ext4`;
  fs.closeSync(fs.openSync(file, "wx"));
  fs.truncateSync(file, FRESH_BYTES);
  const made = spawnSync("mkfs.ext4", ["-q", "-F", file], { encoding: "utf8" });
  const mounted =
    made.status !== 0 ? made : spawnSync("mount", ["-o", "loop", file, dir], { encoding: "utf8" });
  // The loop device keeps it as long as it is mounted.
  fs.rmSync(file);
  if (mounted.status !== 0) {
    process.stderr.write("bench: no file system of its own: what is deleted elsewhere may slow it down\n");
    return;
  }
  // Daemons reach their sockets in it.
  fs.chmodSync(dir, 0o755);
}

/** Put memory at `<dir>/run`, as /run is: what a reboot may lose is not written to disks in use. */
export function runInMemory(dir: string): void {
  const run = path.join(dir, "run");
  fs.mkdirSync(run, { recursive: true });
  const argv = ["-t", "tmpfs", "-o", "mode=755", "tmpfs", run];
  const { status, stderr } = spawnSync("mount", argv, { encoding: "utf8" });
  if (status !== 0) throw new Error(`mount ${argv.join(" ")}: ${stderr}`);
}

const FRESH_BYTES = 24 * 2 ** 30;

/** The cgroup of everything that a run starts. */
export function cgroupParentOf(dir: string): string {
  return `/longshore-${path.basename(dir)}`;
}

/** Run this program again in network, mount and process namespaces of its own; returns its exit code. */
export async function runInside(): Promise<number> {
  // Short, because the paths of unix sockets must be.
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "ls-bench-"));
  try {
    return await spawnInside(dir);
  } finally {
    // Only now: what was mounted below is gone with the namespace.
    fs.rmSync(dir, { recursive: true, force: true });
    for (const parent of [cgroupParentOf(dir), `${cgroupParentOf(dir)}-crun`]) await removeCgroups(parent);
  }
}

function spawnInside(dir: string): Promise<number> {
  // The shell is process 1, which has to reap what loses its parent.
  const child = spawn(
    "unshare",
    [
      ...["--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc"],
      ...["sh", "-c", '"$@"; exit $?', "sh"],
      ...[process.execPath, ...process.execArgv, ...process.argv.slice(1)],
    ],
    { stdio: "inherit", env: { ...process.env, [INSIDE]: dir } },
  );
  // Everything in the namespaces dies with it; this process stays to clean up.
  const end = () => child.kill("SIGKILL");
  process.on("SIGTERM", end);
  // From a terminal the other process gets it as well, and ends in order.
  process.on("SIGINT", () => process.stdin.isTTY || end());
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => resolve(code ?? 1));
  });
}
