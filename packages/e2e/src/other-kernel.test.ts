import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { run } from "@longshore/testkit";
import { binDir, skipped } from "./world.ts";

const repository = path.resolve(import.meta.dir, "../../..");
const machine = path.join(repository, "packages/testkit/bin/cgroup2-vm");
const MINUTES = 9;

const isUnified = fs.existsSync("/sys/fs/cgroup/cgroup.controllers");
// It is emulated, and takes some minutes.
const wanted = Boolean(process.env.LONGSHORE_TEST_CGROUP2);
if (!wanted) skipped("what needs another kernel, in a virtual machine: LONGSHORE_TEST_CGROUP2=1 runs it");
else if (isUnified) skipped("runc in a virtual machine with cgroup v2: this machine has cgroup v2 itself");

/** A test file that must pass in a virtual machine. */
async function passesInMachine(
  file: string,
  prepare: readonly string[],
  options: readonly string[] = [],
): Promise<void> {
  const script = [
    "set -e",
    // A checkout below /tmp or /run is hidden there by the machine's own.
    `[ -d '${repository}' ] || { mkdir -p '${repository}' && mount --bind '/host${repository}' '${repository}'; }`,
    `cd '${repository}'`,
    ...prepare,
    `exec '${process.execPath}' test --timeout 120000 ${file}`,
  ].join("\n");
  const seconds = String(MINUTES * 60 - 60);
  const { status, stdout, stderr } = await run(
    [machine, "-t", seconds, ...options, "--", "sh", "-c", script],
    {
      cwd: repository,
      timeoutMs: MINUTES * 60_000,
    },
  );
  if (status !== 0) console.error(`${stdout}\n${stderr}`);
  expect(status).toBe(0);
  expect(stderr).toContain("\n 0 fail");
}

test.skipIf(isUnified || !wanted)(
  "the validation of runc's cgroups, every limit of it, holds where there is cgroup v2 only",
  () =>
    passesInMachine("./services/runc/test/validation-cgroups.test.ts", [
      "[ -f /sys/fs/cgroup/cgroup.controllers ]",
      "mkdir -p /tmp/longshore",
      `cp '${path.join(binDir, "runc")}' /tmp/longshore/runc`,
      "export LONGSHORE_RUNC=/tmp/longshore/runc",
    ]),
  MINUTES * 60_000 + 10_000,
);

test.skipIf(!wanted)(
  "networks of macvlan, ipvlan and VLANs work on a kernel that has them all",
  () =>
    passesInMachine("./packages/network/test/linked.test.ts", [
      "for module in veth bridge nf_tables macvlan ipvlan 8021q; do modprobe $module; done",
      "export LONGSHORE_TEST_ALL_LINKS=1",
    ]),
  MINUTES * 60_000 + 10_000,
);

test.skipIf(!wanted)(
  "runc gives processes their AppArmor profile on a kernel that has AppArmor",
  () =>
    passesInMachine(
      "./services/runc/test/apparmor.test.ts",
      [
        "[ -f /sys/kernel/security/apparmor/profiles ]",
        "mkdir -p /tmp/longshore",
        `cp '${path.join(binDir, "runc")}' /tmp/longshore/runc`,
        "export LONGSHORE_RUNC=/tmp/longshore/runc",
      ],
      ["-l", "apparmor"],
    ),
  MINUTES * 60_000 + 10_000,
);

test.skipIf(!wanted)(
  "the engine gives containers AppArmor profiles on a kernel that has AppArmor",
  () =>
    passesInMachine(
      "./packages/e2e/src/apparmor.test.ts",
      [
        "[ -f /sys/kernel/security/apparmor/profiles ]",
        "for module in veth bridge nf_tables; do modprobe $module; done",
      ],
      ["-l", "apparmor"],
    ),
  MINUTES * 60_000 + 10_000,
);
