import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { isAlive, readTextIfExists } from "@longshore/syscalls";
import { eventually, tempDir } from "@longshore/testkit";
import { Daemon, present, SHIMS, type Shim } from "./daemon.ts";

const [debians, ours] = SHIMS;

/** The shims of a daemon that no container has yet. */
function standbys(daemon: Daemon): number[] {
  const { pid } = daemon;
  const children = (readTextIfExists(`/proc/${pid}/task/${pid}/children`) ?? "").split(" ").filter(Boolean);
  return children
    .map(Number)
    .filter((child) => readTextIfExists(`/proc/${child}/cmdline`)?.split("\0")[1] === "standby");
}

async function standby(daemon: Daemon): Promise<number> {
  await eventually(() => standbys(daemon).length === 1, { what: "a shim that stands by" });
  return standbys(daemon)[0] ?? 0;
}

const started = async (daemon: Daemon, id: string, shim: Shim = ours): Promise<void> => {
  expect((await daemon.run(shim, ["-d"], id, "/bin/sleep", "1000")).status).toBe(0);
};

describe.skipIf(!present.includes(ours))("a shim that stands by", () => {
  test("becomes the one of the next container, in the list of processes too, and is followed by another", async () => {
    await using daemon = await Daemon.start();
    const first = await standby(daemon);
    await started(daemon, "one");
    expect(daemon.shimPid("one")).toBe(first);
    expect(fs.readlinkSync(`/proc/${first}/cwd`)).toBe(daemon.bundle("one"));
    const line = fs.readFileSync(`/proc/${first}/cmdline`, "utf8").split("\0");
    expect([path.basename(line[0] ?? ""), line.slice(1, 3)]).toEqual([
      "containerd-shim-runc-v2",
      ["-namespace", daemon.namespace],
    ]);
    const second = await standby(daemon);
    await started(daemon, "two");
    expect(daemon.shimPid("two")).toBe(second);
    expect(await daemon.out("tasks", "exec", "--exec-id", "e", "two", "/bin/echo", "hello")).toContain(
      "hello",
    );
    // A shim named by the client that is not ours gets no other's process.
    if (present.includes(debians)) {
      const third = await standby(daemon);
      await started(daemon, "three", debians);
      expect(standbys(daemon)).toEqual([third]);
    }
  });

  test("that is killed is not missed", async () => {
    await using daemon = await Daemon.start();
    process.kill(await standby(daemon), "SIGKILL");
    await started(daemon, "one");
    process.kill(await standby(daemon), "SIGSTOP");
    process.kill(await standby(daemon), "SIGKILL");
    await started(daemon, "two");
    await standby(daemon);
  });

  test("ends with containerd, however that ends; those of containers stay", async () => {
    await using daemon = await Daemon.start();
    await started(daemon, "one");
    for (const signal of ["SIGKILL", "SIGTERM"] as const) {
      const waiting = await standby(daemon);
      await daemon.signal(signal);
      await eventually(() => !isAlive(waiting), {
        what: `the end of the one that stood by, after ${signal}`,
      });
      await daemon.start();
      expect(await daemon.status("one")).toBe("RUNNING");
    }
  });

  test("is followed by another when its container can't be made", async () => {
    await using daemon = await Daemon.start();
    const first = await standby(daemon);
    expect((await daemon.run(ours, ["-d"], "none", "/not/there")).status).not.toBe(0);
    expect(await standby(daemon)).not.toBe(first);
  });

  test("is not there where the configuration doesn't want it", async () => {
    await using daemon = new Daemon();
    const file = path.join(daemon.dir.path, "config.toml");
    fs.writeFileSync(file, `version = 2\n[plugins."io.containerd.runtime.v2.task"]\nstandby_shim = false\n`);
    await daemon.start("--config", file);
    await started(daemon, "one");
    await started(daemon, "two");
    expect(standbys(daemon)).toEqual([]);
  });

  test.skipIf(!present.includes(debians))(
    "is left once another shim is in its place, and back when that is ours again",
    async () => {
      using place = tempDir();
      const binary = path.join(place.path, path.basename(ours.binary));
      const put = (target: string) => {
        fs.rmSync(binary, { force: true });
        fs.symlinkSync(target, binary);
      };
      put(ours.binary);
      await using daemon = new Daemon({ shim: { ...ours, binary } });
      await daemon.start();
      const beside = { ...ours, runtime: "io.containerd.runc.v2" };
      const first = await standby(daemon);
      put(debians.binary);
      await started(daemon, "one", beside);
      await eventually(() => !isAlive(first), { what: "the end of the one that stood by" });
      expect(fs.readlinkSync(`/proc/${daemon.shimPid("one")}/exe`)).toBe(fs.realpathSync(debians.binary));
      await eventually(() => standbys(daemon).length === 0, { what: "no shim that stands by" });
      put(ours.binary);
      await started(daemon, "two", beside);
      const second = await standby(daemon);
      await started(daemon, "three", beside);
      expect(daemon.shimPid("three")).toBe(second);
    },
  );

  test.skipIf(!present.includes(debians))("is not asked of another's shim beside us", async () => {
    await using daemon = new Daemon({ shim: debians });
    await daemon.start();
    const beside = { ...debians, runtime: "io.containerd.runc.v2" };
    await started(daemon, "one", beside);
    await started(daemon, "two", beside);
    await eventually(() => standbys(daemon).length === 0, { what: "no shim that stands by" });
    expect(await daemon.status("two")).toBe("RUNNING");
  });
});
