import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { eventually } from "./eventually.ts";
import { listTables } from "./firewall-tables.ts";

/** What the engine makes on a machine and must take away again, each as a line like `mount /run/x` or `link veth1`. */
export type Traces = ReadonlySet<string>;

export interface TraceOptions {
  /** Processes count that run an executable from below one of these, or whose working directory is one that tests make. */
  binDirs: string[];
}

/** Names of directories in the temporary directory that tests of this repository make. */
const TEST_DIRECTORY = /^(longshore-|ls-)/;

function read(file: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

function mounts(): string[] {
  const lines = read("/proc/self/mountinfo").trim().split("\n");
  const points = lines.map((line) => line.split(" ")[4]);
  // `ip netns` makes a mount of its own directory at its first use, and keeps it.
  return points.flatMap((point) => (point === "/run/netns" ? [] : [`mount ${point}`]));
}

/** Whose children are of interest: those that tests make, and the originals' own. */
const PARENTS = /^\/(longshore|ls-|docker$|default$)/;

/** cgroups, but none of those that others keep for themselves, as systemd does for its services and sessions. */
function cgroups(): string[] {
  const found = new Set<string>();
  const visit = (root: string, group: string, depth: number): void => {
    let entries: fs.Dirent[];
    try {
      entries = fs.readdirSync(path.join(root, group), { withFileTypes: true });
    } catch {
      return; // removed meanwhile
    }
    for (const entry of entries) {
      if (!entry.isDirectory() || (depth === 0 && /\.(slice|scope|service|mount)$/.test(entry.name)))
        continue;
      const child = `${group}/${entry.name}`;
      found.add(`cgroup ${child}`);
      if (depth > 0 || PARENTS.test(child)) visit(root, child, depth + 1);
    }
  };
  for (const at of hierarchies()) visit(at, "", 0);
  return [...found];
}

/** Where the hierarchies of cgroups are mounted. */
function hierarchies(): string[] {
  return read("/proc/self/mounts")
    .split("\n")
    .flatMap((line) => {
      const [, at = "", type] = line.split(" ");
      return type === "cgroup" || type === "cgroup2" ? [at] : [];
    });
}

/** Parents of the containers of a real dockerd and of `ctr`, which these make in every hierarchy and never take away. */
const PEERS_GROUPS = ["/docker", "/default"];

/** Take away the empty cgroups that real engines have left since `before`. */
export function removePeersGroups(before: Traces): void {
  for (const group of PEERS_GROUPS.filter((name) => !before.has(`cgroup ${name}`))) {
    for (const at of hierarchies()) {
      try {
        fs.rmdirSync(path.join(at, group));
      } catch {
        // not in this hierarchy, or not empty, which is then reported as left behind
      }
    }
  }
}

function processes(isOurs: (about: { exe: string; cwd: string; commandLine: string }) => boolean): string[] {
  return fs.readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return [];
    try {
      const cwd = fs.readlinkSync(`/proc/${pid}/cwd`);
      const words = read(`/proc/${pid}/cmdline`);
      const commandLine = words.replaceAll("\0", " ").trim();
      const file = fs.readlinkSync(`/proc/${pid}/exe`);
      // A shim that sleeps.
      const exe = file.startsWith("/memfd:") ? (words.split("\0")[0] ?? "") : file;
      return isOurs({ exe, cwd, commandLine }) ? [`process ${pid} ${commandLine}`] : [];
    } catch {
      return []; // ended, or a kernel thread
    }
  });
}

/** Whether a path is below a directory that a test has made, also when that is gone. */
function isInTestDirectory(file: string): boolean {
  return [os.tmpdir(), "/tmp"].some(
    (dir) => file.startsWith(`${dir}/`) && TEST_DIRECTORY.test(file.slice(dir.length + 1)),
  );
}

function temporary(): string[] {
  const dir = os.tmpdir();
  return fs
    .readdirSync(dir)
    .flatMap((name) => (TEST_DIRECTORY.test(name) ? [`directory ${path.join(dir, name)}`] : []));
}

/** Everything of the kinds that the engine makes, whoever made it: compare with another moment of the same machine. */
export function traces({ binDirs }: TraceOptions): Traces {
  const links = fs.readdirSync("/sys/class/net").map((name) => `link ${name}`);
  const started = processes(
    ({ exe, cwd }) => binDirs.some((dir) => exe.startsWith(`${dir}/`)) || isInTestDirectory(cwd),
  );
  const tables = listTables().map((line) => `nftables ${line}`);
  return new Set([...mounts(), ...cgroups(), ...links, ...tables, ...started, ...temporary()]);
}

export interface EngineScope {
  /** The engine's directory: everything of it has this in its path or command line. */
  dir: string;
  bridge: string;
  cgroupParent: string;
}

/** What one engine's containers have on the machine, whatever else goes on there. */
export function engineTraces({ dir, bridge, cgroupParent }: EngineScope): Traces {
  const ports = `/sys/class/net/${bridge}/brif`;
  const links = fs.existsSync(ports) ? fs.readdirSync(ports).map((name) => `link ${name}`) : [];
  const groups = cgroups().filter((line) => line.startsWith(`cgroup ${cgroupParent}/`));
  const own = mounts().filter((line) => line.includes(`${dir}/`));
  const states = ["lib/dockerd/containers", "run/dockerd/netns", "run/dockerd/io", "run/dockerd/runc/moby"];
  const tasks = entries(path.join(dir, "run/containerd/io.containerd.runtime.v2.task"));
  const snapshots = entries(path.join(dir, "lib/containerd"))
    .filter((name) => name.includes("snapshotter"))
    .map((name) => path.join(name, "snapshots"));
  const directories = [...states.map((name) => path.join(dir, name)), ...tasks, ...snapshots]
    .flatMap(entries)
    .map((name) => `directory ${name}`);
  return new Set([
    ...links,
    ...groups,
    ...own,
    ...directories,
    ...processes(({ commandLine }) => commandLine.includes(`${dir}/`)),
  ]);
}

function entries(dir: string): string[] {
  if (!fs.existsSync(dir)) return [];
  // What starts with a dot is a cache, not of one container.
  const names = fs.readdirSync(dir).filter((name) => !name.startsWith("."));
  return names.map((name) => path.join(dir, name));
}

/**
 * What is there now and was not before. Waits until that is nothing, at most `timeoutMs`: a kernel takes a cgroup or a veth
 * pair away a moment after the process that it belonged to.
 */
export async function leaksSince(before: Traces, now: () => Traces, timeoutMs = 10_000): Promise<string[]> {
  let extra: string[] = [];
  await eventually(
    () => {
      extra = [...now()].filter((line) => !before.has(line));
      return extra.length === 0;
    },
    { timeoutMs },
  ).catch(() => {}); // the caller judges what is left
  return extra;
}
