import { expect } from "bun:test";
import { it } from "./playground.ts";
import { soak } from "./soak.ts";

it("30 cycles in a row and 10 at once leave no mount, cgroup, process, keyring or file", async () => {
  const { left, firstMs, lastMs } = await soak({ cycles: 30, parallel: 10 });
  expect(left).toEqual([]);
  // Nor do they get slower; the bound is wide, other tests share the machine.
  expect(lastMs).toBeLessThan(firstMs * 3 + 100);
}, 60_000);
