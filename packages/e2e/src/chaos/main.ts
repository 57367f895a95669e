/** `npm run chaos -- [--rounds N] [--seed S] [--containers N]`: kill daemons at random moments, and look what was lost. */
import { parseArgs } from "node:util";
import { openWorld } from "../world.ts";
import { runChaos } from "./chaos.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "20" },
    seed: { type: "string", default: "1" },
    containers: { type: "string", default: "10" },
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
const report = await runChaos(world, {
  rounds: Number(values.rounds),
  seed: Number(values.seed),
  containers: Number(values.containers),
  progress: (line) => console.log(line),
});
const { faults, ...figures } = report;
console.log(JSON.stringify({ rounds: Number(values.rounds), seed: Number(values.seed), ...figures }));
for (const fault of faults) console.log(fault);
console.log(`${faults.length} faults in ${Math.round((performance.now() - begun) / 1000)} s`);
process.exitCode = faults.length > 0 ? 1 : 0;
