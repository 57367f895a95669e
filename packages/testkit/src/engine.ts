import { spawnSync } from "node:child_process";
import crypto from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import {
  componentNames,
  findExecutable,
  parseNatsUrl,
  type Suite,
  type SuiteOptions,
  startSuite,
} from "@longshore/suite";
import { output } from "./command.ts";
import { type Docker, type DockerCli, dockerFor } from "./docker-cli.ts";
import { eventually } from "./eventually.ts";
import { deleteTables } from "./firewall-tables.ts";
import { engineTraces, leaksSince } from "./leaks.ts";
import { mountsBelow, type TempDir, tempDir } from "./temp-dir.ts";

export type EngineOptions = Pick<
  SuiteOptions,
  "components" | "without" | "logLevel" | "binDir" | "nats" | "startTimeoutMs"
> & {
  /** The client to clean up with: any that works. */
  cli: DockerCli;
  /** What a foreign component is known to leave behind, as lines of `engineTraces`. */
  ignoreLeaks?: RegExp;
  /** Put everything of it on a file system of its own, of so many MB: one that can get full. */
  diskMb?: number;
  /** Make the bridge before the daemons start, which a real dockerd wants. */
  bridgeFirst?: boolean;
};

const natsUrl = process.env.LONGSHORE_TEST_NATS_URL;
/** The NATS server that all engines of the tests use, instead of one each: LONGSHORE_TEST_NATS_URL, `nats://TOKEN@host:port`. */
export const givenNats = natsUrl ? parseNatsUrl(natsUrl) : undefined;

/** A private suite for tests: sockets, state, bridge and cgroups of its own. */
export interface Engine extends AsyncDisposable {
  readonly suite: Suite;
  readonly dir: string;
  readonly bridge: { name: string; cidr: string };
  /** Parent of its containers' cgroups, `/longshore-<suffix>`. */
  readonly cgroupParent: string;
  docker(cli: DockerCli): Docker;
  /** What is on the machine now and wasn't when the engine had started: for tests of "nothing is left behind". */
  leaks(timeoutMs?: number): Promise<string[]>;
  /** Take this moment as the new "before" of `leaks`. */
  mark(): void;
}

/** A /24 of 10.128.0.0/9 that no interface of this machine is in. */
function freeSubnet(): string {
  const used = Object.values(os.networkInterfaces()).flatMap(
    (addresses) => addresses?.map(({ address }) => address) ?? [],
  );
  for (;;) {
    const prefix = `10.${crypto.randomInt(128, 255)}.${crypto.randomInt(0, 255)}.`;
    if (!used.some((address) => address.startsWith(prefix))) return `${prefix}1/24`;
  }
}

/**
 * Start a private suite. Disposing it removes its containers, stops the daemons, takes away what an engine keeps by design (bridge,
 * nftables table, empty cgroup parent), and throws when anything else is left behind.
 */
export async function startEngine({
  cli,
  bridgeFirst = false,
  ignoreLeaks,
  diskMb,
  ...options
}: EngineOptions): Promise<Engine> {
  const temp = diskMb === undefined ? tempDir() : smallDisk(diskMb);
  const suffix = crypto.randomBytes(3).toString("hex");
  const bridge = { name: `lst${suffix}`, cidr: freeSubnet() };
  const cgroupParent = `/longshore-${suffix}`;
  if (bridgeFirst) await makeBridge(bridge);
  let suite: Suite;
  try {
    const nats = givenNats && { nats: givenNats };
    suite = await startSuite({
      logLevel: "debug",
      ...nats,
      ...options,
      dir: temp.path,
      bridge,
      cgroupParent,
    });
  } catch (error) {
    removeKept(bridge.name, cgroupParent);
    temp[Symbol.dispose]();
    throw error;
  }
  const clientConfig = path.join(temp.path, "client");
  fs.mkdirSync(clientConfig);
  const now = () => {
    const daemons = componentNames.map((name) => `process ${suite.pid(name)} `);
    const all = [...engineTraces({ dir: temp.path, bridge: bridge.name, cgroupParent })];
    return new Set(
      all.filter((line) => !ignoreLeaks?.test(line) && !daemons.some((daemon) => line.startsWith(daemon))),
    );
  };
  const started = now();
  let marked = started;
  const docker = (client: DockerCli) => dockerFor(client, suite.dockerHost, clientConfig);
  return {
    suite,
    dir: temp.path,
    bridge,
    cgroupParent,
    docker,
    leaks: (timeoutMs) => leaksSince(marked, now, timeoutMs),
    mark: () => {
      marked = now();
    },
    async [Symbol.asyncDispose]() {
      const problems: string[] = [];
      try {
        problems.push(...(await removeContainers(docker(cli))));
      } catch (error) {
        problems.push(`can't remove the containers: ${error instanceof Error ? error.message : error}`);
      }
      problems.push(...(await suite.stop()).map((name) => `${name} did not end on SIGTERM`));
      if (process.env.LONGSHORE_TEST_KEEP_LOGS)
        fs.cpSync(suite.paths.logs, process.env.LONGSHORE_TEST_KEEP_LOGS, { recursive: true });
      problems.push(
        ...(await leaksSince(started, now, 5000)).filter((line) => !line.includes("/snapshots/")),
      );
      await removeOrphans(temp.path, cgroupParent);
      removeKept(bridge.name, cgroupParent);
      for (const point of mountsBelow(temp.path)) {
        if (ignoreLeaks?.test(`mount ${point}`)) spawnSync("umount", ["--lazy", point]);
      }
      try {
        temp[Symbol.dispose]();
      } catch (error) {
        problems.push(error instanceof Error ? error.message : String(error));
      }
      if (problems.length > 0) throw new Error(`left behind:\n${problems.join("\n")}`);
    },
  };
}

/** A temporary directory that is a file system of its own. */
function smallDisk(sizeMb: number): TempDir {
  const temp = tempDir();
  const { status, stderr } = spawnSync(
    "mount",
    ["-t", "tmpfs", "-o", `size=${sizeMb}m`, "tmpfs", temp.path],
    {
      encoding: "utf8",
    },
  );
  if (status !== 0) {
    temp[Symbol.dispose]();
    throw new Error(`mount: ${stderr.trim()}`);
  }
  fs.chmodSync(temp.path, 0o711);
  return {
    path: temp.path,
    [Symbol.dispose]() {
      const left = mountsBelow(`${temp.path}`).filter((point) => point !== temp.path);
      for (const point of left.toReversed()) spawnSync("umount", ["--lazy", point]);
      spawnSync("umount", [temp.path]);
      temp[Symbol.dispose]();
      if (left.length > 0) throw new Error(`left mounted: ${left.join(", ")}`);
    },
  };
}

async function makeBridge({ name, cidr }: Engine["bridge"]): Promise<void> {
  await output(["ip", "link", "add", name, "type", "bridge"]);
  await output(["ip", "address", "add", cidr, "dev", name]);
  await output(["ip", "link", "set", name, "up"]);
}

async function removeContainers(docker: Docker): Promise<string[]> {
  const listed = await docker.run(["ps", "-aq"], { timeoutMs: 20_000 });
  const ids = listed.stdout.split("\n").filter(Boolean);
  if (listed.status !== 0) return [`docker ps: ${listed.stderr.trim()}`];
  if (ids.length === 0) return [];
  const { status, stderr } = await docker.run(["rm", "-f", ...ids], { timeoutMs: 60_000 });
  return status === 0 ? [] : [`docker rm: ${stderr.trim()}`];
}

/** The directories of a cgroup in every hierarchy, its children before itself. */
function groupDirs(group: string): string[] {
  const roots = [
    "/sys/fs/cgroup",
    ...fs.readdirSync("/sys/fs/cgroup").map((name) => `/sys/fs/cgroup/${name}`),
  ];
  return roots.flatMap((root) => {
    const top = path.join(root, group);
    if (!fs.existsSync(top)) return [];
    const below = fs.readdirSync(top, { recursive: true, withFileTypes: true, encoding: "utf8" });
    const dirs = below
      .filter((entry) => entry.isDirectory())
      .map((entry) => path.join(entry.parentPath, entry.name));
    return [top, ...dirs].sort().reverse();
  });
}

/** What an engine leaves when it is stopped, as Docker does, because containers may run on. */
function removeKept(bridge: string, cgroupParent: string): void {
  spawnSync(findExecutable("ip") ?? "ip", ["link", "delete", bridge]);
  deleteTables([bridge, `${bridge}_user`]);
  for (const dir of groupDirs(cgroupParent)) {
    try {
      fs.rmdirSync(dir);
    } catch {
      // a process that can't be killed is in it; the test driver reports the group
    }
  }
}

/** End what a suite that did not clean up left running: shims, by the directory in their command line, and containers, by their cgroup. */
async function removeOrphans(dir: string, cgroupParent: string): Promise<void> {
  const shims = fs.readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false;
    try {
      return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(`${dir}/`);
    } catch {
      return false; // ended
    }
  });
  const members = () =>
    groupDirs(cgroupParent).flatMap((group) =>
      fs.readFileSync(path.join(group, "cgroup.procs"), "utf8").split("\n").filter(Boolean),
    );
  for (const pid of new Set([...shims, ...members()])) {
    try {
      process.kill(Number(pid), "SIGKILL");
    } catch {
      // ended
    }
  }
  await eventually(() => members().length === 0, { timeoutMs: 2000 }).catch(() => {});
}
