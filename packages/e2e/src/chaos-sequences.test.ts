import { expect, test } from "bun:test";
import { runSequences } from "./chaos/sequences.ts";
import { useWorld } from "./world.ts";

const world = useWorld();

test("the inventory is right after dockerd was killed at random moments: some of `npm run chaos -- --sequences 200`", async () => {
  const { faults, kills, answered } = await runSequences(world(), { sequences: 40, seed: 6 });
  expect(faults).toEqual([]);
  // It was no idle run.
  expect(kills).toBeGreaterThan(3);
  expect(answered).toBeGreaterThan(40);
}, 110_000);
