import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { findExecutable } from "@longshore/suite";
import { run } from "@longshore/testkit";
import { binDir, skipped } from "./world.ts";

const repository = path.resolve(import.meta.dir, "../../..");
const machine = path.join(repository, "packages/testkit/bin/cgroup2-vm");
const MINUTES = 9;

const isUnified = fs.existsSync("/sys/fs/cgroup/cgroup.controllers");
// Else its first use would install qemu and fetch a kernel, which nobody asked for.
const wanted =
  Boolean(process.env.LONGSHORE_TEST_CGROUP2) || findExecutable("qemu-system-x86_64") !== undefined;
if (isUnified) skipped("the virtual machine with cgroup v2: this machine has cgroup v2 itself");
else if (!wanted)
  skipped("the virtual machine with cgroup v2: qemu is not installed; LONGSHORE_TEST_CGROUP2=1 installs it");

test.skipIf(isUnified || !wanted)(
  "isolation and limits, and crun as the runtime, hold in a machine that has cgroup v2 only",
  async () => {
    // The machine sees this one's files below a memory file system that takes writes.
    const script = [
      "set -e",
      "[ -f /sys/fs/cgroup/cgroup.controllers ]",
      // A checkout below /tmp or /run is hidden there by the machine's own.
      `[ -d '${repository}' ] || { mkdir -p '${repository}' && mount --bind '/host${repository}' '${repository}'; }`,
      `cd '${repository}'`,
      "mkdir -p /tmp/longshore",
      `cp -r '${binDir}' /tmp/longshore/bin`,
      "export LONGSHORE_BIN_DIR=/tmp/longshore/bin",
      `'${process.execPath}' test --timeout 120000 ./packages/e2e/src/isolation.test.ts`,
      // Debian 12's crun runs here and not on a machine with hybrid hierarchies.
      `LONGSHORE_MATRIX=crun exec '${process.execPath}' test --timeout 120000 -t 'our containerd, our shim, crun' ./packages/e2e/src/matrix.test.ts`,
    ].join("\n");
    const seconds = String(MINUTES * 60 - 60);
    const { status, stdout, stderr } = await run([machine, "-t", seconds, "--", "sh", "-c", script], {
      cwd: repository,
      timeoutMs: MINUTES * 60_000,
    });
    if (status === 125 && !process.env.LONGSHORE_TEST_CGROUP2) {
      skipped(`the virtual machine with cgroup v2 does not start: ${stderr.trim().split("\n").at(-1)}`);
      return;
    }
    for (const [, reason = ""] of `${stdout}\n${stderr}`.matchAll(/^# skipped: (.*crun.*)$/gm)) {
      if (!reason.includes("--add-runtime")) skipped(`the virtual machine with cgroup v2: ${reason}`);
    }
    if (status !== 0) console.error(`${stdout}\n${stderr}`);
    expect(status).toBe(0);
    expect(`${stdout}\n${stderr}`.match(/^ 0 fail$/gm)).toHaveLength(2);
  },
  MINUTES * 60_000 + 10_000,
);
