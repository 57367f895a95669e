import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { EngineError, isErrno } from "@longshore/errors";
import type { Logger } from "@longshore/log";
import { openNetworks, removeLeftovers } from "@longshore/network";
import { MNT_DETACH, UMOUNT_NOFOLLOW, umount2 } from "@longshore/syscalls";
import { defaultCgroupParent, scopeOf } from "../config/cgroup-driver.ts";
import { parseHost } from "../config/hosts.ts";
import type { Settings } from "../config/settings.ts";
import { openState } from "../state/open-state.ts";
import { engineId } from "./engine-id.ts";
import { lockRoot } from "./root-lock.ts";

/**
 * Take away what the daemon of these settings keeps in the kernel beyond its end: network namespaces, bridges, tables of nftables, its rules
 * in a real Docker's chain, mounts and empty cgroups. Containers and images stay on disk, and the next start makes all of it anew. Where the
 * data root is gone, what can be found without it goes.
 *
 * @throws EngineError `failed_precondition` while the daemon runs, or a container does
 */
export async function uninstall(settings: Settings, log: Logger, signal: AbortSignal): Promise<void> {
  const { dataRoot, execRoot, bridge } = settings;
  await using resources = new AsyncDisposableStack();
  const hasRecords = fs.existsSync(dataRoot);
  if (hasRecords) resources.use(lockRoot(dataRoot));
  else await refuseServing(settings);
  const running = processesOf(settings);
  if (running.length > 0) {
    const pids = running.join(", ");
    throw new EngineError(
      "failed_precondition",
      `containers are running (processes ${pids}): stop them first`,
    );
  }
  fs.mkdirSync(execRoot, { recursive: true, mode: 0o700 });
  if (hasRecords) await uninstallNetworks(settings, log, signal);
  else {
    log.warn(
      { dataRoot },
      "the data root is gone: interfaces below macvlan and ipvlan networks, and cgroups outside of the daemon's own, can't be told from others'",
    );
    removeLeftovers({ stateDir: execRoot, bridge, log });
  }
  for (const at of mountsBelow(execRoot)) umount2(at, MNT_DETACH | UMOUNT_NOFOLLOW);
  for (const directory of groupDirs(settings)) removeEmpty(directory);
}

/** Without its lock, a daemon is known by its sockets. @throws EngineError `failed_precondition` */
async function refuseServing({ hosts, dataRoot }: Settings): Promise<void> {
  for (const host of hosts) {
    const parsed = parseHost(host, { tls: false });
    if (parsed.kind === "unix" && (await isServed(parsed.path)))
      throw new EngineError(
        "failed_precondition",
        `${dataRoot} is gone, but a daemon still serves ${parsed.path}: end it first`,
      );
  }
}

function isServed(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(socketPath, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

async function uninstallNetworks(settings: Settings, log: Logger, signal: AbortSignal): Promise<void> {
  const { dataRoot, execRoot, bridge, bip, ipv6, defaultBridge } = settings;
  await using resources = new AsyncDisposableStack();
  const { store } = await openState(settings, engineId(dataRoot), log, signal);
  resources.use(store);
  const options = {
    ...{ stateDir: execRoot, bridge, store, log, defaultBridge },
    ...(bip !== undefined && { bip }),
    ...(ipv6 !== undefined && { ipv6 }),
  };
  await (await openNetworks(options)).uninstall();
}

/** The directories of containers' cgroups in all hierarchies, each after those below it. */
function groupDirs({ cgroupDriver, cgroupParent, dataRoot }: Settings): string[] {
  const ids = containerIds(dataRoot);
  const mounts = fs.readFileSync("/proc/self/mounts", "utf8").split("\n");
  const hierarchies = mounts.flatMap((line) => {
    const [, at = "", type = ""] = line.split(" ");
    return type.startsWith("cgroup") ? [at] : [];
  });
  const tops = [...new Set(hierarchies)].flatMap((hierarchy) => {
    // A daemon of the other driver may have started some of them. Slices are others' as well.
    const scopes = scopesBelow(hierarchy, new Set(ids.map(scopeOf)));
    const tops =
      cgroupDriver === "cgroupfs"
        ? [path.join(hierarchy, cgroupParent)]
        : ids.map((id) => path.join(hierarchy, defaultCgroupParent("cgroupfs"), id));
    return [...scopes, ...tops.filter((top) => fs.existsSync(top))];
  });
  return tops.flatMap((top) => {
    const below = fs.readdirSync(top, { recursive: true, withFileTypes: true });
    const dirs = below.flatMap((entry) =>
      entry.isDirectory() ? [path.join(entry.parentPath, entry.name)] : [],
    );
    return [top, ...dirs].sort().reverse();
  });
}

/** Of all containers, whether they run or not. */
function containerIds(dataRoot: string): string[] {
  const containers = path.join(dataRoot, "containers");
  return fs.existsSync(containers) ? fs.readdirSync(containers) : [];
}

function scopesBelow(slice: string, scopes: ReadonlySet<string>): string[] {
  return fs.readdirSync(slice).flatMap((name) => {
    const at = path.join(slice, name);
    if (name.endsWith(".slice")) return scopesBelow(at, scopes);
    return scopes.has(name) ? [at] : [];
  });
}

function processesOf(settings: Settings): string[] {
  const pids = groupDirs(settings).flatMap((directory) =>
    fs.readFileSync(path.join(directory, "cgroup.procs"), "utf8").split("\n").filter(Boolean),
  );
  return [...new Set(pids)];
}

/** Where something is mounted, the last mounted first. */
function mountsBelow(directory: string): string[] {
  const lines = fs.readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  return lines
    .flatMap((line) => line.split(" ")[4] ?? [])
    .filter((at) => at.startsWith(`${directory}/`))
    .reverse();
}

function removeEmpty(directory: string): void {
  try {
    fs.rmdirSync(directory);
  } catch (error) {
    if (!isErrno(error, "ENOENT", "EBUSY")) throw error;
  }
}
