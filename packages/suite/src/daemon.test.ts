import { afterAll, afterEach, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Daemon, DaemonFailure, type DaemonOptions } from "./daemon.ts";

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-"));
afterEach(() => {
  for (const file of fs.readdirSync(dir)) fs.rmSync(path.join(dir, file));
});

afterAll(() => fs.rmSync(dir, { recursive: true }));

const ready = path.join(dir, "ready");

function shell(script: string, changes: Partial<DaemonOptions> = {}): Daemon {
  return Daemon.spawn({
    name: "thing",
    path: "/bin/sh",
    args: ["-c", script, "sh", ready],
    env: {},
    logFile: path.join(dir, "log"),
    probe: async () => fs.existsSync(ready),
    startTimeoutMs: 5000,
    ...changes,
  });
}

test("healthy() waits for the probe, stop() for the end", async () => {
  const daemon = shell('echo hello; : >"$1"; exec tail -f /dev/null');
  await daemon.healthy();
  expect(daemon.running).toBe(true);
  expect(daemon.output()).toBe("hello\n");
  expect(await daemon.stop(5000)).toBe(true);
  expect(daemon.running).toBe(false);
  expect(await daemon.ended).toBe("was ended by SIGTERM");
});

test("healthy() fails at once with the last output when the daemon ends first", async () => {
  fs.writeFileSync(path.join(dir, "log"), "of an earlier start\n");
  const daemon = shell("echo no such flag >&2; exit 3", { startTimeoutMs: 60_000 });
  const failure = await daemon.healthy().catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(DaemonFailure);
  expect(String(failure)).toContain("thing exited with 3; its last output:\nno such flag");
  expect(String(failure)).not.toContain("earlier");
});

test("healthy() kills a daemon that isn't ready in time", async () => {
  const daemon = shell("exec tail -f /dev/null", { startTimeoutMs: 30 });
  expect(daemon.healthy()).rejects.toThrow("was not ready after 0.03 s");
  expect(await daemon.ended).toBe("was ended by SIGKILL");
});

test("stop() kills what ignores SIGTERM and says so", async () => {
  const daemon = shell('trap "" TERM; : >"$1"; exec tail -f /dev/null');
  await daemon.healthy();
  expect(await daemon.stop(30)).toBe(false);
});

test("onDeath is told of an end that nobody asked for, and only of that", async () => {
  const deaths: string[] = [];
  const onDeath = (death: DaemonFailure) => deaths.push(death.message);
  const daemon = shell(': >"$1"; exec tail -f /dev/null', { onDeath });
  await daemon.healthy();
  await daemon.kill("SIGKILL");
  expect(deaths).toEqual([]);
  fs.rmSync(ready);
  const other = shell(': >"$1"; exec tail -f /dev/null', { onDeath });
  await other.healthy();
  process.kill(other.pid, "SIGKILL");
  await other.ended;
  expect(deaths).toEqual(["thing was ended by SIGKILL"]);
});

test("a missing executable is a failure with its name", async () => {
  const daemon = shell("", { path: "/nowhere/thing" });
  expect(daemon.healthy()).rejects.toThrow("thing could not be started: ");
});
