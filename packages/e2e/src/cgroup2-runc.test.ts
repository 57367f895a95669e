import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { run } from "@longshore/testkit";
import { binDir, skipped } from "./world.ts";

const repository = path.resolve(import.meta.dir, "../../..");
const machine = path.join(repository, "packages/testkit/bin/cgroup2-vm");
const MINUTES = 9;
/** Every limit, with every controller of version 2. */
const FILE = "./services/runc/test/validation-cgroups.test.ts";

const isUnified = fs.existsSync("/sys/fs/cgroup/cgroup.controllers");
// It is emulated, and takes some minutes.
const wanted = Boolean(process.env.LONGSHORE_TEST_CGROUP2);
if (isUnified) skipped("runc in a virtual machine with cgroup v2: this machine has cgroup v2 itself");
else if (!wanted) skipped("runc in a virtual machine with cgroup v2: LONGSHORE_TEST_CGROUP2=1 runs it");

test.skipIf(isUnified || !wanted)(
  "the validation of runc's cgroups holds in a machine that has cgroup v2 only",
  async () => {
    const script = [
      "set -e",
      "[ -f /sys/fs/cgroup/cgroup.controllers ]",
      // A checkout below /tmp or /run is hidden there by the machine's own.
      `[ -d '${repository}' ] || { mkdir -p '${repository}' && mount --bind '/host${repository}' '${repository}'; }`,
      `cd '${repository}'`,
      "mkdir -p /tmp/longshore",
      `cp '${path.join(binDir, "runc")}' /tmp/longshore/runc`,
      "export LONGSHORE_RUNC=/tmp/longshore/runc",
      `exec '${process.execPath}' test --timeout 120000 ${FILE}`,
    ].join("\n");
    const seconds = String(MINUTES * 60 - 60);
    const { status, stdout, stderr } = await run([machine, "-t", seconds, "--", "sh", "-c", script], {
      cwd: repository,
      timeoutMs: MINUTES * 60_000,
    });
    if (status !== 0) console.error(`${stdout}\n${stderr}`);
    expect(status).toBe(0);
    expect(stderr).toContain("\n 0 fail");
  },
  MINUTES * 60_000 + 10_000,
);
