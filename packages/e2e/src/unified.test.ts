import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { run, tempDir } from "@longshore/testkit";
import { skipped } from "./world.ts";

const UNIFIED = "/sys/fs/cgroup/unified";
const isHybrid = fs.existsSync(`${UNIFIED}/cgroup.controllers`);
if (!isHybrid) skipped("cgroup v2 in a mount namespace: this machine's hierarchies are not hybrid");

/** The version 2 hierarchy in place of all others: `$1` is an empty directory, the rest a command. */
const ENTER = `
  set -e
  mount --bind ${UNIFIED} "$1"
  umount --recursive --lazy /sys/fs/cgroup
  mount --move "$1" /sys/fs/cgroup
  shift
  exec "$@"`;

const TESTS = ["isolation.test.ts", "swap.test.ts"].map((name) => path.join(import.meta.dir, name));

test.skipIf(!isHybrid)(
  "isolation, and crun as a runtime, hold where version 2 is all that the engine sees of the machine's cgroups",
  async () => {
    using dir = tempDir();
    const tests = [
      process.execPath,
      "test",
      "--timeout=60000",
      "--test-name-pattern=^(processes|isolation|limits|nothing)|crun",
      ...TESTS,
    ];
    const { status, stdout, stderr } = await run(
      ["unshare", "--mount", "sh", "-c", ENTER, "sh", dir.path, ...tests],
      { timeoutMs: 170_000 },
    );
    for (const [, reason = ""] of `${stdout}\n${stderr}`.matchAll(/^# skipped: (.*)$/gm))
      skipped(`cgroup v2 alone: ${reason}`);
    if (status !== 0) console.error(`${stdout}\n${stderr}`);
    expect(status).toBe(0);
    expect(stderr).toContain("\n 0 fail");
    expect(stderr).toMatch(/\n {1,4}\d+ pass/);
  },
  180_000,
);
