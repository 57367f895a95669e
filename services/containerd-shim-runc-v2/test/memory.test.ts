import { expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { formatStdioUri } from "@longshore/stdio";
import { canRun, Harness } from "./harness.ts";

/** Bytes of a process that no other process shares. */
function privateBytes(pid: number): number {
  const rollup = fs.readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  return [...rollup.matchAll(/^Private_(?:Clean|Dirty): +(\d+) kB$/gm)].reduce(
    (sum, [, kilobytes]) => sum + Number(kilobytes) * 1024,
    0,
  );
}

test.skipIf(!canRun)(
  "an idle shim has 3 MB for itself",
  async () => {
    // A second one shares the executable with it, as on any machine where this matters.
    await using harness = new Harness();
    const shims: number[] = [];
    for (const name of ["one", "two"]) {
      const container = await harness.container({ args: ["sleep", "1000"] });
      const log = { path: path.join(harness.dir, `${name}-json.log`) };
      await container.create({
        stdout: formatStdioUri({ socketPath: `${harness.dir}/${name}.sock`, log }),
      });
      await container.start();
      shims.push(container.shimPid);
    }
    // It gives back what it doesn't need after a second of rest.
    await Bun.sleep(4000);
    // Pages of the executable that are not written back yet count as private.
    execFileSync("sync");
    for (const pid of shims) expect(privateBytes(pid)).toBeLessThan(3_050_000);
  },
  60_000,
);
