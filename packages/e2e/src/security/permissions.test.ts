import { afterAll, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { type Engine, startEngine } from "@longshore/testkit";
import { binDir, ours, useWorld } from "../world.ts";

// The image's own modes are the machine's, so it is made before the umask changes.
const world = useWorld();

const ORIGINAL_UMASK = process.umask();
afterAll(() => {
  process.umask(ORIGINAL_UMASK);
});

/** What other users of the host can come to, with its mode; names that change are replaced. */
const FOR_OTHERS = [
  "711 run",
  "711 run/containerd",
  "660 run/containerd/containerd.sock",
  "600 run/containerd/containerd.sock.ttrpc",
  "711 run/containerd/io.containerd.runtime.v2.task",
  "711 run/containerd/io.containerd.runtime.v2.task/moby",
  "700 run/containerd/io.containerd.runtime.v2.task/moby/ID",
  "700 run/containerd/s",
  "660 run/docker.sock",
  "700 run/dockerd",
  "600 run/nats.conf",
  "600 run/nats.port",
  "600 run/nats.token",
  "600 run/nats.token.pid",
  "660 run/registry-client.sock",
  "600 run/suite.json",
  "711 lib",
  "700 lib/containerd",
  "710 lib/dockerd",
  "750 lib/log",
  "700 lib/nats",
].sort();

/** The original's modes in the data root, for the root group and a remapped root. */
const IN_DATA_ROOT = {
  containers: 0o710,
  "containers/ID": 0o710,
  volumes: 0o701,
  "volumes/data": 0o701,
  "volumes/data/_data": 0o755,
  lock: 0o600,
  "engine.db": 0o600,
};

const modeOf = (file: string) => fs.lstatSync(file).mode & 0o7777;

/** The entries of a tree below directories that any user passes through, as `mode name`. */
function reachable(root: string, name: string, id: string): string[] {
  const file = path.join(root, name);
  const stat = fs.lstatSync(file, { throwIfNoEntry: false });
  if (!stat) return []; // a file that is written anew
  const line = `${(stat.mode & 0o7777).toString(8)} ${name.replace(id, "ID")}`;
  if (!stat.isDirectory() || (stat.mode & 0o001) === 0) return [line];
  return [line, ...fs.readdirSync(file).flatMap((child) => reachable(root, `${name}/${child}`, id))];
}

function openToOthers({ suite }: Engine, id: string): string[] {
  const { run, lib } = suite.paths;
  return [run, lib].flatMap((dir) => reachable(path.dirname(dir), path.basename(dir), id)).sort();
}

function dataRootModes({ suite }: Engine, id: string): Record<string, number> {
  const modes = Object.keys(IN_DATA_ROOT).map((name) => [
    name,
    modeOf(path.join(suite.paths.dockerdRoot, name.replace("ID", id))),
  ]);
  return Object.fromEntries(modes);
}

/** Open the daemons' directories to everybody, as a careless release could have. */
function openAll({ suite }: Engine): void {
  const { paths } = suite;
  for (const root of [
    paths.dockerdRoot,
    paths.dockerdExecRoot,
    paths.containerdRoot,
    paths.containerdState,
  ]) {
    fs.chmodSync(root, 0o777);
    for (const { name } of fs
      .readdirSync(root, { withFileTypes: true })
      .filter((entry) => entry.isDirectory()))
      fs.chmodSync(path.join(root, name), 0o777);
  }
}

test.each(["000", "077"])(
  "the modes of the suite's files are the originals' with a umask of %s, and after an upgrade",
  async (umask) => {
    process.umask(Number.parseInt(umask, 8));
    await using engine = await startEngine({ binDir, cli: ours });
    const docker = engine.docker(ours);
    await docker("pull", world().busybox);
    const id = await docker(
      ...["run", "-d", "--name", "looker", "-u", "1000", "-v", "data:/data"],
      ...[world().busybox, "sleep", "600"],
    );
    const exec = (command: string) => docker("exec", "looker", "sh", "-c", command);
    expect(openToOthers(engine, id)).toEqual(FOR_OTHERS);
    expect(dataRootModes(engine, id)).toEqual(IN_DATA_ROOT);
    // Neither is too narrow: what every user of a container reads is readable.
    expect(await exec("umask; cat /etc/hosts /etc/hostname /etc/resolv.conf > /dev/null && ls /data")).toBe(
      "0022",
    );

    openAll(engine);
    expect(openToOthers(engine, id)).not.toEqual(FOR_OTHERS);
    for (const name of ["containerd", "registry-client", "dockerd"] as const)
      await engine.suite.restart(name);
    expect(openToOthers(engine, id)).toEqual(FOR_OTHERS);
    expect(dataRootModes(engine, id)).toEqual(IN_DATA_ROOT);
    expect(await exec("id -u")).toBe("1000");
    await docker("rm", "-f", "looker");
    await docker("volume", "rm", "data");
  },
);
