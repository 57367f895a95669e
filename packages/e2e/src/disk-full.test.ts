import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { eventually, givenNats } from "@longshore/testkit";
import type { NatsConnection } from "nats";
import { connectNats, streamEvents } from "./chaos/witness.ts";
import { initPid } from "./init-process.ts";
import { useWorld } from "./world.ts";

const world = useWorld({ diskMb: 96 });
const docker = (...args: string[]) => world().docker()(...args);
const tryDocker = (...args: string[]) => world().docker().run(args);

const COUNTER = "i=0; while :; do i=$((i+1)); echo line $i of what it has to say; done";

const fillerPath = () => path.join(world().engine.dir, "filler");

/** Take all the room that there is, until the result is disposed of. */
function fillDisk(): Disposable {
  const file = fillerPath();
  const fd = fs.openSync(file, "w");
  try {
    for (const size of [1 << 20, 4096]) {
      const zeros = Buffer.alloc(size);
      try {
        for (;;) if (fs.writeSync(fd, zeros) < size) break;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
      }
    }
  } finally {
    fs.closeSync(fd);
  }
  return { [Symbol.dispose]: () => fs.rmSync(file, { force: true }) };
}

/** A server that finds no room puts JetStream out of service until it is started again, and may not end on SIGTERM. */
async function startNatsAnew(): Promise<void> {
  if (givenNats) return;
  const { suite } = world().engine;
  await suite.kill("nats-server", "SIGKILL");
  await suite.start("nats-server");
}

/** How much a process has written so far. */
const written = (pid: number) =>
  Number(/^wchar: (\d+)$/m.exec(fs.readFileSync(`/proc/${pid}/io`, "utf8"))?.[1]);

const stateOf = async (id: string) =>
  JSON.parse(await docker("inspect", "--format", "{{json .State}}", id)) as {
    Status: string;
    ExitCode: number;
    FinishedAt: string;
  };

const closing = (connection: NatsConnection) => ({
  connection,
  [Symbol.asyncDispose]: () => connection.close(),
});

const logFile = (id: string) =>
  path.join(world().engine.suite.paths.dockerdRoot, "containers", id, `${id}-json.log`);

test("a full disk: calls say so and leave nothing, what runs goes on, ends are kept, and all is well when there is room", async () => {
  const { suite, leaks } = world().engine;
  world().engine.mark();
  const limits = ["--log-opt", "max-size=200k", "--log-opt", "max-file=2"];
  const writer = await docker("run", "-d", ...limits, world().busybox, "sh", "-c", COUNTER);
  const pid = initPid(writer);
  const mortal = await docker(
    "run",
    "-d",
    world().busybox,
    "sh",
    "-c",
    'trap "exit 7" TERM; while :; do usleep 10000; done',
  );
  const created = (await docker("ps", "-aq")).split("\n").length;
  {
    using _ = fillDisk();
    for (let round = 0; round < 3; round++) {
      const refused = await tryDocker("run", "-d", "--name", `refused${round}`, world().busybox, "true");
      expect(refused.status).toBe(125);
      expect(refused.stderr).toMatch(/no space left on device|disk is full/i);
    }
    // It writes megabytes that find no room, and isn't held up.
    const before = written(pid);
    await eventually(() => written(pid) > before + (2 << 20), { what: "the writer to go on" });
    expect((await tryDocker("kill", "--signal", "TERM", mortal)).status).toBe(0);
    expect(await docker("wait", mortal)).toBe("7");
    expect(await stateOf(mortal)).toMatchObject({ Status: "exited", ExitCode: 7 });
    expect((await stateOf(writer)).Status).toBe("running");
  }
  // As Docker does, `run` leaves a container that was made and could not be started.
  for (const name of ["refused0", "refused1", "refused2"]) await tryDocker("rm", name);
  expect((await docker("ps", "-aq")).split("\n").length).toBe(created);
  expect(await docker("run", "--rm", world().busybox, "echo", "room again")).toBe("room again");
  await startNatsAnew();
  await using nats = closing(await connectNats(suite));
  await eventually(
    async () => {
      const events = await streamEvents(nats.connection, { filter: "longshore.events.*.moby.tasks.exit.>" });
      return events.some(({ event }) => event.id === mortal && event.exit_status === 7);
    },
    { what: "the exit in the stream", timeoutMs: 20_000 },
  );
  // The exit that could not be saved is saved by now, or still with the task: either way the next daemon knows it.
  const { FinishedAt } = await stateOf(mortal);
  for (const name of ["dockerd", "containerd"] as const) await suite.kill(name, "SIGKILL");
  await suite.start("containerd");
  await suite.start("dockerd");
  expect(await stateOf(mortal)).toMatchObject({ Status: "exited", ExitCode: 7, FinishedAt });
  expect(initPid(writer)).toBe(pid);
  const size = fs.statSync(logFile(writer)).mtimeMs;
  await eventually(() => fs.statSync(logFile(writer)).mtimeMs > size, { what: "the log to go on" });
  await docker("kill", writer);
  for (const line of fs.readFileSync(logFile(writer), "utf8").split("\n").filter(Boolean))
    expect(JSON.parse(line).log).toMatch(/^line \d+ of what it has to say\n$/);
  await docker("rm", writer, mortal);
  expect(await leaks()).toEqual([]);
});

test("room for a part of a start only: it runs, or says so and leaves nothing", async () => {
  const { leaks } = world().engine;
  world().engine.mark();
  const outcomes = new Set<number>();
  for (let room = 0; room <= 512 << 10 && outcomes.size < 2; room += 8 << 10) {
    {
      using _ = fillDisk();
      fs.truncateSync(fillerPath(), fs.statSync(fillerPath()).size - room);
      const { status, stderr } = await tryDocker("run", "-d", "--name", "some", world().busybox, "true");
      outcomes.add(status);
      if (status !== 0) expect(stderr).toMatch(/no space left on device|disk is full/i);
    }
    await tryDocker("rm", "-f", "some");
    expect((await tryDocker("inspect", "some")).status).toBe(1);
  }
  expect([...outcomes]).toEqual([125, 0]);
  await startNatsAnew();
  expect(await leaks()).toEqual([]);
});

test("daemons that start on a full disk say what is wrong, and start when there is room", async () => {
  const { suite } = world().engine;
  const id = await docker("run", "-d", world().busybox, "sleep", "1000");
  const pid = initPid(id);
  {
    using _ = fillDisk();
    for (const name of ["dockerd", "containerd"] as const) {
      await suite.kill(name, "SIGKILL");
    }
    // For the log of what is wrong.
    fs.truncateSync(fillerPath(), fs.statSync(fillerPath()).size - (64 << 10));
    for (const name of ["containerd", "dockerd"] as const) {
      const failure = await suite.start(name).then(
        () => "",
        (error: Error) => error.message,
      );
      if (failure) expect(failure).toMatch(/no space left on device|disk is full/i);
    }
  }
  for (const name of ["containerd", "dockerd"] as const) if (!suite.running(name)) await suite.start(name);
  await startNatsAnew();
  expect(initPid(id)).toBe(pid);
  expect(await docker("exec", id, "echo", "alive")).toBe("alive");
  await docker("rm", "-f", id);
});

test("a state directory that is read-only: clear errors, what runs goes on, recovers", async () => {
  const { suite, leaks } = world().engine;
  const id = await docker(
    "run",
    "-d",
    world().busybox,
    "sh",
    "-c",
    'trap "exit 5" TERM; while :; do usleep 10000; done',
  );
  world().engine.mark();
  for (const directory of [
    suite.paths.containerdState,
    suite.paths.containerdRoot,
    suite.paths.dockerdRoot,
    suite.paths.dockerdExecRoot,
  ]) {
    {
      using _ = readOnly(directory);
      const refused = await tryDocker("run", "-d", "--name", "refused", world().busybox, "true");
      expect(`${directory} ${refused.status} ${refused.stderr}`).toMatch(/ 125 .*read-only file system/is);
      expect((await stateOf(id)).Status).toBe("running");
    }
    await tryDocker("rm", "refused");
    expect(await docker("run", "--rm", world().busybox, "echo", "writable")).toBe("writable");
    expect(await leaks()).toEqual([]);
  }
  await docker("stop", id);
  expect(await stateOf(id)).toMatchObject({ Status: "exited", ExitCode: 5 });
  await docker("rm", id);
});

/** Make a directory read-only for whoever opens something in it from now on. */
function readOnly(directory: string): Disposable {
  const mount = (...args: string[]) => {
    const { status, stderr } = spawnSync("mount", args, { encoding: "utf8" });
    if (status !== 0) throw new Error(`mount ${args.join(" ")}: ${stderr.trim()}`);
  };
  // Made so where nobody looks: a mount point that somebody writes through can't become read-only.
  const aside = `${directory}.aside`;
  fs.mkdirSync(aside);
  mount("--rbind", directory, aside);
  mount("-o", "remount,bind,ro", aside);
  mount("--rbind", aside, directory);
  spawnSync("umount", ["-R", "--lazy", aside]);
  fs.rmdirSync(aside);
  return {
    [Symbol.dispose]() {
      const { status, stderr } = spawnSync("umount", ["-R", "--lazy", directory], { encoding: "utf8" });
      if (status !== 0) throw new Error(`umount: ${stderr.trim()}`);
    },
  };
}
