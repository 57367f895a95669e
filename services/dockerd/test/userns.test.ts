/** Containers whose ids are others on the host: `userns-remap`. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { type TempDir, tempDir } from "@longshore/testkit";
import { binDir, openEngine, type TestEngine } from "./engine-client.ts";

setDefaultTimeout(90_000);

const cli = { name: "ours", path: path.join(binDir, "docker"), ours: true };
const hasUser = () => fs.readFileSync("/etc/passwd", "utf8").includes("\ndockremap:");
const hadUser = hasUser();
const canMap = spawnSync("unshare", ["--user", "true"]).status === 0;
if (!canMap) console.log("# skipped: userns-remap: user namespaces can't be made here");
const itMaps = test.skipIf(!canMap);

const realRunc = ["/usr/sbin/runc", "/usr/bin/runc"].find((file) => fs.existsSync(file));
const withRealRunc = realRunc === undefined ? [] : ["--add-runtime", `real=${realRunc}`];

const realShim = "/usr/bin/containerd-shim-runc-v2";
const hasRealShim = fs.existsSync(realShim);

let dir: TempDir;
let world: TestEngine;
/** Of containers' root on the host. */
let root: number;

beforeAll(async () => {
  if (!canMap) return;
  dir = tempDir();
  const file = path.join(dir.path, "daemon.json");
  const runtimes = { foreign: { runtimeType: realShim, options: { BinaryName: path.join(binDir, "runc") } } };
  fs.writeFileSync(file, JSON.stringify(hasRealShim ? { runtimes } : {}));
  const extraArgs = ["--config-file", file, "--userns-remap", "default", ...withRealRunc];
  world = await openEngine({ components: { dockerd: { extraArgs } } });
  const [, start] = /^dockremap:(\d+):\d+$/m.exec(fs.readFileSync("/etc/subuid", "utf8")) ?? [];
  root = Number(start);
});
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  dir?.[Symbol.dispose]();
  if (!hadUser && hasUser()) spawnSync("userdel", ["dockremap"]);
});

const docker = (...args: string[]) => world.engine.docker(cli)(...args);
const run = (...args: string[]) => docker("run", "--rm", ...args);
const pidOf = async (id: string) => Number(await docker("inspect", "-f", "{{.State.Pid}}", id));

/** A container that sleeps, for the time of `use`. */
async function withSleeper<T>(args: string[], use: (id: string, pid: number) => Promise<T>): Promise<T> {
  const id = await docker("run", "-d", ...args, world.image, "sleep", "1000");
  try {
    return await use(id, await pidOf(id));
  } finally {
    await docker("rm", "-f", "-v", id);
  }
}

itMaps(
  "root in the container is a user of the host's without rights there, and root over its own network",
  async () => {
    expect((await world.api.call("GET", "/info")).json.SecurityOptions).toContain("name=userns");
    const old = await world.api.call("GET", "/v1.24/info");
    expect(old.json.SecurityOptions).toContain("userns");
    await withSleeper(["--cap-add", "NET_ADMIN"], async (id, pid) => {
      expect(fs.readFileSync(`/proc/${pid}/uid_map`, "utf8").trim().split(/\s+/)).toEqual([
        "0",
        String(root),
        "65536",
      ]);
      expect(fs.statSync(`/proc/${pid}`).uid).toBe(root);
      const script = [
        "id -u",
        "stat -c %u:%g /bin /etc/hosts /dev/shm",
        "touch /new && chown 33:44 /new && stat -c %u:%g /new",
        "echo out > /dev/stdout",
        "ip link set lo down && ip link set lo up && echo network",
        "nc -l -p 80 < /dev/zero & until netstat -ltn | grep -q ':80 ' || ! kill -0 $!; do sleep 0.1; done; kill $! && echo bound",
        "mount | grep -c ' on /sys type sysfs'",
      ].join("; ");
      expect((await docker("exec", id, "sh", "-c", script)).split("\n")).toEqual([
        "0",
        ...["0:0", "0:0", "0:0", "33:44", "out", "network", "bound", "1"],
      ]);
    });
  },
);

itMaps("what it writes is its own in images, archives and copies", async () => {
  await withSleeper([], async (id, pid) => {
    await docker(
      "exec",
      id,
      "sh",
      "-c",
      "mkdir /made && echo a > /made/a && chown 7:8 /made/a && rm /bin/ls",
    );
    expect(fs.statSync(`/proc/${pid}/root/made/a`).uid).toBe(root + 7);
    const listed = async () => {
      const copy = spawnSync(
        "sh",
        ["-c", `"$1" cp "$2":/made - | tar -tv --numeric-owner`, "sh", cli.path, id],
        { env: { ...process.env, DOCKER_HOST: world.engine.suite.dockerHost }, encoding: "utf8" },
      );
      return copy.stdout
        .split("\n")
        .filter(Boolean)
        .map((line) => line.split(/\s+/)[1]);
    };
    expect(await listed()).toEqual(["0/0", "7/8"]);
    // Into it while it runs: who the tar says, directories in between root's.
    using source = tempDir();
    const into = spawnSync(
      "sh",
      [
        "-c",
        `cd "$3" && mkdir -p d && echo b > d/b && tar -c --owner=21 --group=22 d/b | "$1" cp - "$2":/made`,
        "sh",
      ].concat(cli.path, id, source.path),
      { env: { ...process.env, DOCKER_HOST: world.engine.suite.dockerHost }, encoding: "utf8" },
    );
    expect(into.stderr).toBe("");
    expect(await docker("exec", id, "stat", "-c", "%u:%g", "/made/d", "/made/d/b")).toBe("0:0\n21:22");
    expect((await docker("diff", id)).split("\n").sort()).toContain("D /bin/ls");
    await docker("commit", id, "mapped:1");
    await docker("kill", id);
    expect(await listed()).toEqual(["0/0", "7/8", "0/0", "21/22"]);
    expect(await run("mapped:1", "stat", "-c", "%u:%g", "/made/a", "/made/d/b")).toBe("7:8\n21:22");
    // The same files without a mapping.
    expect(await run("--userns=host", "mapped:1", "stat", "-c", "%u:%g", "/made/a")).toBe("7:8");
  });
  await docker("rmi", "mapped:1");
});

itMaps("volumes are its own, the host's directories are not", async () => {
  const dir = fs.mkdtempSync("/tmp/userns-bind-");
  try {
    fs.chmodSync(dir, 0o755);
    await docker("volume", "create", "mapped");
    const write = "echo v > /v/f && chown 5:6 /v/f && stat -c %u:%g /v /v/f";
    expect(await run("-v", "mapped:/v", world.image, "sh", "-c", write)).toBe("0:0\n5:6");
    const one = ["-v", "mapped:/v", world.image, "stat", "-c", "%u:%g", "/v/f"];
    expect(await run("--userns=host", ...one)).toBe("5:6");
    // Filled from the image, and part of one.
    expect(await run("-v", "/bin", world.image, "stat", "-c", "%u:%g", "/bin", "/bin/sh")).toBe("0:0\n0:0");
    await run("-v", "mapped:/v", world.image, "mkdir", "/v/part");
    const part = ["--mount", "type=volume,source=mapped,target=/p,volume-subpath=part"];
    expect(await run(...part, world.image, "sh", "-c", "touch /p/x && stat -c %u /p/x")).toBe("0");
    const image = ["--mount", `type=image,source=${world.image},target=/i`];
    expect(await run(...image, world.image, "stat", "-c", "%u:%g", "/i/bin")).toBe("0:0");
    const bind = `touch /b/x 2>/dev/null || echo refused; stat -c %u:%g /b`;
    expect(await run("-v", `${dir}:/b`, world.image, "sh", "-c", bind)).toBe("refused\n65534:65534");
    // A file by which its root could become the host's is out of others' reach.
    const volumes = path.dirname(
      path.dirname(await docker("volume", "inspect", "-f", "{{.Mountpoint}}", "mapped")),
    );
    expect(fs.statSync(volumes).mode & 0o777).toBe(0o700);
  } finally {
    await docker("volume", "rm", "-f", "mapped");
    fs.rmSync(dir, { recursive: true });
  }
});

test.skipIf(!canMap || realRunc === undefined)("another runtime makes them as well", async () => {
  const script =
    "id -u; stat -c %u /bin/sh; echo x > /new && stat -c %u /new; echo err >&2; head -n 1 /proc/self/uid_map";
  const told = await run("--runtime", "real", world.image, "sh", "-c", script);
  expect(told.split(/\s+/)).toEqual(["0", "0", "0", "0", String(root), "65536"]);
});

test.skipIf(!canMap || !hasRealShim)(
  "a shim that can't make them is refused by its runtime's name, also when it has been in use; nothing is left",
  async () => {
    const foreign = ["--runtime", "foreign", world.image, "sh", "-c", "cat /proc/self/uid_map"];
    const words = "userns-remap needs a shim that runtime foreign has not";
    await expect(run(...foreign)).rejects.toThrow(words);
    expect((await run("--userns=host", ...foreign)).trim().split(/\s+/)).toEqual(["0", "0", "4294967295"]);
    await expect(run(...foreign)).rejects.toThrow(words);
    expect(await docker("ps", "-aq")).toBe("");
    expect(await world.engine.leaks()).toEqual([]);
  },
);

itMaps(
  "it shares network, IPC and processes with others of its kind, and nothing of the host's",
  async () => {
    const refused: [object, string][] = [
      [
        { Privileged: true },
        "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode",
      ],
      [{ NetworkMode: "host" }, "cannot share the host's network namespace when user namespaces are enabled"],
      [{ PidMode: "host" }, "cannot share the host PID namespace when user namespaces are enabled"],
    ];
    for (const [HostConfig, message] of refused) {
      const answer = await world.api.call("POST", "/containers/create", { Image: world.image, HostConfig });
      expect(answer).toMatchObject({ status: 400, json: { message } });
    }
    const privileged = ["--privileged", "--net=host", "--pid=host", "--userns=host"];
    expect(await run(...privileged, world.image, "readlink", "/proc/self/ns/user")).toBe(
      fs.readlinkSync("/proc/self/ns/user"),
    );
    await withSleeper(["--ipc=shareable"], async (id, pid) => {
      const joins = ["--net", `container:${id}`, "--ipc", `container:${id}`, "--pid", `container:${id}`];
      const script =
        "readlink /proc/self/ns/user; touch /dev/shm/x && stat -c %u /dev/shm/x; mount | grep -c sysfs";
      expect(await run(...joins, world.image, "sh", "-c", script)).toBe(
        `${fs.readlinkSync(`/proc/${pid}/ns/user`)}\n0\n1`,
      );
      await withSleeper([], async (other) => {
        const two = run("--net", `container:${id}`, "--pid", `container:${other}`, world.image, "true");
        await expect(two).rejects.toThrow("containers in different user namespaces");
      });
    });
    await withSleeper(["--ipc=shareable"], async (id) => {
      await docker("kill", id);
      for (const [flag, what] of [
        ["--pid", "PID namespace"],
        ["--ipc", "IPC namespace"],
        ["--net", "network"],
      ] as const)
        await expect(run(flag, `container:${id}`, world.image, "true")).rejects.toThrow(
          `cannot join ${what} of a non running container: ${id}`,
        );
    });
    await withSleeper(["--userns=host"], async (id) => {
      const joined = run("--net", `container:${id}`, world.image, "true");
      await expect(joined).rejects.toThrow("is in the host's user namespace");
    });
  },
);
