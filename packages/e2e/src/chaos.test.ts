import { expect, test } from "bun:test";
import { givenNats } from "@longshore/testkit";
import { runChaos } from "./chaos/chaos.ts";
import { skipped, useWorld } from "./world.ts";

if (givenNats) skipped("chaos: the server of LONGSHORE_TEST_NATS_URL is not ours to kill");

const world = useWorld();

test.skipIf(givenNats !== undefined)(
  "nothing is lost when daemons are killed at random moments: ten rounds of `npm run chaos`",
  async () => {
    const { faults, kills, exits, lines } = await runChaos(world(), { rounds: 10, seed: 8, containers: 6 });
    expect(faults).toEqual([]);
    // It was no idle run.
    expect(Object.values(kills).every((count) => count > 0)).toBe(true);
    expect(exits).toBeGreaterThan(15);
    expect(lines).toBeGreaterThan(500);
  },
  110_000,
);
