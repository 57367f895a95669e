import { expect, test } from "bun:test";
import fs from "node:fs";
import { leaksSince, traces } from "./leaks.ts";
import { tempDir } from "./temp-dir.ts";

test("leaksSince() names a process that works in a test's directory, also when that is removed", async () => {
  const now = () => traces({ binDirs: [] });
  const dir = tempDir();
  const before = now();
  const child = Bun.spawn(["sleep", "4321"], { cwd: dir.path });
  const line = `process ${child.pid} sleep 4321`;
  const own = (leaks: string[]) => leaks.filter((leak) => leak.includes("sleep 4321"));
  try {
    while (fs.readFileSync(`/proc/${child.pid}/cmdline`, "utf8") !== "sleep\x004321\0");
    expect(own(await leaksSince(before, now, 0))).toEqual([line]);
    dir[Symbol.dispose]();
    expect(own(await leaksSince(before, now, 0))).toEqual([line]);
  } finally {
    child.kill("SIGKILL");
    await child.exited;
  }
  expect(own(await leaksSince(before, now))).toEqual([]);
});
