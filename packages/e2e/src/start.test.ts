import { expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { isErrno } from "@longshore/errors";
import { findExecutable, leftBehind, suitePaths } from "@longshore/suite";
import { deleteTables, dockerFor, eventually, run, tempDir } from "@longshore/testkit";
import { initPid } from "./init-process.ts";
import { anyReal, ours, skipped } from "./world.ts";

const repository = path.resolve(import.meta.dir, "../../..");
const paths = suitePaths();
const IMAGE = "127.0.0.1:5780/busybox";

/** The system's places can hold one engine, and a user's comes first. */
const inUse =
  fs.existsSync(paths.dockerSocket) ||
  leftBehind(paths.record).length > 0 ||
  Boolean(process.env.LONGSHORE_BIN_DIR);
if (inUse) skipped("npm start: the engine at the system's places is in use");

interface Started {
  child: ChildProcess;
  output: () => string;
  ended: Promise<number | null>;
}

function npmStart(): Started {
  const child = spawn("npm", ["start"], {
    cwd: repository,
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const chunks: string[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk) => chunks.push(String(chunk)));
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  return { child, output: () => chunks.join(""), ended };
}

async function running({ output, ended }: Started): Promise<void> {
  let over = false;
  void ended.then(() => {
    over = true;
  });
  await eventually(() => over || output().includes("The engine is running"), {
    timeoutMs: 100_000,
    what: "npm start",
  });
  if (over) throw new Error(output());
}

/** As Ctrl-C at a terminal does: to the whole process group. Nothing when it has ended. */
async function interrupt({ child, ended }: Started): Promise<void> {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGINT");
  } catch (error) {
    if (!isErrno(error, "ESRCH")) throw error;
  }
  await ended;
}

/** What an engine keeps for containers that run on, and the whole state if there was none before. */
async function removeKept(hadState: boolean): Promise<void> {
  await run([findExecutable("ip") ?? "ip", "link", "delete", "longshore0"]);
  deleteTables(["longshore0", "longshore0_user"]);
  for (const controller of ["", ...fs.readdirSync("/sys/fs/cgroup")]) {
    try {
      fs.rmdirSync(path.join("/sys/fs/cgroup", controller, "longshore"));
    } catch {
      // not of this hierarchy
    }
  }
  if (hadState) return;
  for (const dir of [paths.run, paths.lib]) fs.rmSync(dir, { recursive: true, force: true });
}

test.skipIf(inUse)(
  "npm start runs a container, Ctrl-C leaves one running, the next start takes seconds and finds it",
  async () => {
    using config = tempDir();
    const name = `kept-${crypto.randomUUID()}`;
    const hadState = fs.existsSync(paths.lib);
    const docker = dockerFor(anyReal ?? ours, `unix://${paths.dockerSocket}`, config.path);
    const first = npmStart();
    try {
      await running(first);
      expect(first.output()).toContain("\nhello from a container\n");
      expect(first.output()).toContain("export DOCKER_HOST=unix:///run/longshore/docker.sock");
      for (const daemon of ["nats-server", "containerd", "registry-client serve", "dockerd"]) {
        expect(first.output()).toMatch(new RegExp(`\\\\_ \\S*${daemon} `));
      }
      const another = npmStart();
      expect(await another.ended).toBe(1);
      expect(another.output()).toContain("longshore: the suite is already running (process ");

      const id = await docker("run", "-d", "--name", name, IMAGE, "sleep", "1000");
      const pid = initPid(id);
      await interrupt(first);
      await eventually(() => !fs.existsSync(paths.record), {
        timeoutMs: 30_000,
        what: "the end of the daemons",
      });
      expect(initPid(id)).toBe(pid);

      const began = Date.now();
      const second = npmStart();
      try {
        await running(second);
        expect(Date.now() - began).toBeLessThan(15_000);
        expect(await docker("exec", name, "echo", "found again")).toBe("found again");
        expect(second.output()).toContain("\\_ sleep 1000");
        await docker("rm", "-f", name);
      } finally {
        await interrupt(second);
        await eventually(() => !fs.existsSync(paths.record), { timeoutMs: 30_000 });
      }
    } finally {
      await interrupt(first);
      await removeKept(hadState);
    }
  },
  200_000,
);
