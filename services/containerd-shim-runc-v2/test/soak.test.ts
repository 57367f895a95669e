import { expect, test } from "bun:test";
import { canRun } from "./harness.ts";
import { soak } from "./soak.ts";

// The long form, of 10,000 execs and 10 GB, is `npm run soak:shim`.
test.skipIf(!canRun)(
  "a shim's memory and descriptors don't grow with execs and logs",
  async () => {
    const { before, afterLogs } = await soak({ execs: 300, logBytes: 200e6 });
    expect(afterLogs.fds).toBe(before.fds);
    // An exec that is not forgotten takes 5 kB; without such a leak the difference is a tenth of this.
    expect(afterLogs.bytes - before.bytes).toBeLessThan(500_000);
  },
  120_000,
);
