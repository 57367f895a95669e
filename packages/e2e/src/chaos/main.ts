/**
 * `npm run chaos -- [--rounds N] [--seed S] [--containers N]`: kill daemons at random moments, and look what was lost.
 * `npm run chaos -- --sequences N [--seed S]`: kill dockerd while N containers are created, started, stopped and removed.
 */
import { parseArgs } from "node:util";
import { openWorld } from "../world.ts";
import { runChaos } from "./chaos.ts";
import { runSequences } from "./sequences.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "20" },
    seed: { type: "string", default: "1" },
    containers: { type: "string", default: "10" },
    sequences: { type: "string" },
  },
});
const begun = performance.now();
await using world = await openWorld();
// Nothing may be left running: what is under way fails, and everything is taken apart.
for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.once(
    signal,
    () => void Promise.resolve(world[Symbol.asyncDispose]()).finally(() => process.exit(130)),
  );
const seed = Number(values.seed);
const progress = (line: string) => console.log(line);
const report =
  values.sequences === undefined
    ? await runChaos(world, {
        rounds: Number(values.rounds),
        seed,
        containers: Number(values.containers),
        progress,
      })
    : await runSequences(world, { sequences: Number(values.sequences), seed, progress });
const { faults, ...figures } = report;
console.log(JSON.stringify({ seed, ...figures }));
for (const fault of faults) console.log(fault);
console.log(`${faults.length} faults in ${Math.round((performance.now() - begun) / 1000)} s`);
process.exitCode = faults.length > 0 ? 1 : 0;
