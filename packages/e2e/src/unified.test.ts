import { expect, test } from "bun:test";
import path from "node:path";
import { isHybrid, runUnified } from "./unified.ts";
import { skipped } from "./world.ts";

if (!isHybrid) skipped("cgroup v2 in a mount namespace: this machine's hierarchies are not hybrid");

const TESTS = [path.join(import.meta.dir, "isolation.test.ts")];

test.skipIf(!isHybrid)(
  "isolation holds where version 2 is all that the engine sees of the machine's cgroups",
  async () => {
    const tests = [
      process.execPath,
      "test",
      "--timeout=60000",
      "--test-name-pattern=^(processes|isolation|limits|nothing)",
      ...TESTS,
    ];
    const { status, stdout, stderr } = await runUnified(tests, { timeoutMs: 170_000 });
    for (const [, reason = ""] of `${stdout}\n${stderr}`.matchAll(/^# skipped: (.*)$/gm))
      skipped(`cgroup v2 alone: ${reason}`);
    if (status !== 0) console.error(`${stdout}\n${stderr}`);
    expect(status).toBe(0);
    expect(stderr).toContain("\n 0 fail");
    expect(stderr).toMatch(/\n {1,4}\d+ pass/);
  },
  180_000,
);
