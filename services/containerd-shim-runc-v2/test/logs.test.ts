import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { gunzipSync } from "node:zlib";
import { formatStdioUri } from "@longshore/stdio";
import { canRun, Harness, until } from "./harness.ts";

/** The files of a log, newest first. */
function filesOf(log: string): string[] {
  const number = (name: string) => Number(/\.(\d+)(\.gz)?$/.exec(name)?.[1] ?? 0);
  return fs
    .readdirSync(path.dirname(log))
    .filter((name) => name.startsWith(path.basename(log)))
    .sort((a, b) => number(a) - number(b));
}

/** All that the container wrote, as far as it is kept. What a kill left of an entry at the end isn't one. */
function linesOf(log: string): string[] {
  return filesOf(log)
    .reverse()
    .flatMap((name) => {
      const bytes = fs.readFileSync(path.join(path.dirname(log), name));
      const text = (name.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString();
      return text.split("\n").slice(0, -1);
    })
    .map((line) => (JSON.parse(line) as { log: string }).log);
}

/** Processes that compress a log. */
function compressorsOf(log: string): number[] {
  return fs
    .readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(`compress-log\0${log}\0`);
      } catch {
        return false;
      }
    })
    .map(Number);
}

const numbered = (count: number) => Array.from({ length: count }, (_, i) => `${i + 1}\n`);

describe.skipIf(!canRun)("the shim's json-file logs", () => {
  test("compress=true: rotated files are compressed, none is lost and the container never waits", async () => {
    await using harness = new Harness();
    const container = await harness.container({ args: ["seq", "40000"] });
    const log = path.join(harness.dir, "c-json.log");
    const limits = { maxSizeBytes: 100_000, maxFiles: 40, compress: true };
    const uri = formatStdioUri({ socketPath: `${harness.dir}/io`, log: { path: log, ...limits } });
    await container.create({ stdout: uri });
    await container.start();
    expect((await container.wait()).exitStatus).toBe(0);
    const isDone = () =>
      filesOf(log)
        .slice(1)
        .every((name) => name.endsWith(".gz"));
    // The shim ends meanwhile, and nobody waits for the work.
    await container.finish();
    await until(isDone, "all rotated files to be compressed");
    const files = filesOf(log);
    expect(files.length).toBeGreaterThan(20);
    expect(files.slice(0, 3)).toEqual(["c-json.log", "c-json.log.1.gz", "c-json.log.2.gz"]);
    expect(linesOf(log)).toEqual(numbered(40_000));
    await until(() => compressorsOf(log).length === 0, "the compressing process to end");
  }, 30_000);

  test("killed between renaming and compressing, the next shim finishes it and no line is lost", async () => {
    await using harness = new Harness();
    const log = path.join(harness.dir, "c-json.log");
    const limits = { maxSizeBytes: 20_000_000, maxFiles: 3, compress: true };
    const stdout = formatStdioUri({ socketPath: `${harness.dir}/io`, log: { path: log, ...limits } });
    const first = await harness.container({ args: ["sh", "-c", "seq 350000; exec sleep 1000"] });
    await first.create({ stdout });
    await first.start();
    await until(() => compressorsOf(log).length > 0, "the compressing process");
    for (const pid of [first.shimPid, ...compressorsOf(log)]) process.kill(pid, "SIGKILL");
    await first.destroy();
    expect(filesOf(log)).toEqual(["c-json.log", "c-json.log.1"]);
    const kept = linesOf(log);
    expect(kept).toEqual(numbered(kept.length));
    const second = await harness.container({ args: ["echo", "again"] });
    await second.create({ stdout });
    await second.start();
    await second.finish();
    await until(() => !filesOf(log).includes("c-json.log.1"), "the old file to be compressed");
    expect(filesOf(log)).toEqual(["c-json.log", "c-json.log.1.gz"]);
    expect(linesOf(log)).toEqual([...kept, "again\n"]);
    await until(() => compressorsOf(log).length === 0, "the compressing process to end");
  }, 30_000);
});
