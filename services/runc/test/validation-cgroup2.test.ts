/** The same validation where /sys/fs/cgroup is version 2: the unified hierarchy of this machine, seen from a mount namespace of its own. */
import { expect } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { it, skipped, unified } from "./playground.ts";

const hybrid = fs.existsSync("/sys/fs/cgroup/unified/cgroup.controllers");
if (unified) skipped("validation with cgroup v2 apart: it is what this machine has");
else if (!hybrid) skipped("validation with cgroup v2: this machine's kernel shows no unified hierarchy");

const FILES = ["cgroups", "lifecycle"].map((name) =>
  path.join(import.meta.dir, `validation-${name}.test.ts`),
);

(hybrid && !unified ? it : it.skip)(
  "everything holds with cgroup v2",
  () => {
    const script = 'mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup && exec "$@"';
    const argv = ["unshare", "--mount", "sh", "-c", script, "sh", process.execPath, "test"];
    const { exitCode, stderr } = Bun.spawnSync([...argv, "--timeout", "60000", ...FILES], {
      stdio: ["ignore", "pipe", "pipe"],
      timeout: 150_000,
    });
    if (exitCode !== 0) console.error(stderr.toString());
    expect(exitCode).toBe(0);
    expect(stderr.toString()).toContain("\n 0 fail");
  },
  160_000,
);
