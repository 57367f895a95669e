/** `npm run fuzz -- [--minutes N] [--seed S] [NAME]…`: run the fuzz targets, see packages/fuzz. */
import crypto from "node:crypto";
import path from "node:path";
import { parseArgs } from "node:util";
import { execute } from "./execute.ts";
import { repoRoot } from "./paths.ts";
import { Refusal, runScript } from "./refusal.ts";
import { progress } from "./setup.ts";
import { testFiles } from "./test-files.ts";

/** Time for a file's last input, and for the search of a smaller one that fails as well. */
const GRACE_MS = 60_000;

const HELP = `Usage: npm run fuzz -- [--minutes N] [--seed S] [NAME]...

Runs all fuzz targets, or those in files whose path contains a NAME, for N minutes in all (5 when left out).
Needs a machine that is set up: npm run setup.`;

function positive(text: string, flag: string): number {
  const value = Number(text);
  if (!(value > 0 && value < 2 ** 32)) throw new Refusal(`--${flag} ${text}: must be a positive number`);
  return value;
}

/** @returns the exit code: 1 when a target has failed */
async function fuzz(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      minutes: { type: "string", default: "5" },
      seed: { type: "string", default: String(crypto.randomInt(1, 2 ** 31)) },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const minutes = positive(values.minutes, "minutes");
  const seed = positive(values.seed, "seed");
  const files = ["packages", "services"]
    .flatMap((folder) => testFiles(path.join(repoRoot, folder)))
    .filter((file) => file.endsWith(".fuzz.test.ts"))
    .filter((file) => positionals.length === 0 || positionals.some((name) => file.includes(name)));
  if (files.length === 0) throw new Refusal(`no fuzz targets match ${positionals.join(" ")}`);
  const seconds = (minutes * 60) / files.length;
  progress(`${files.length} files, ${seconds.toFixed(1)} s each, seed ${seed}`);
  let failed = 0;
  for (const file of files) {
    const bun = path.join(repoRoot, "node_modules/.bin/bun");
    const { status, output, timedOut } = await execute(bun, ["test", `./${file}`], {
      timeoutMs: 2 * seconds * 1000 + GRACE_MS,
      env: { LONGSHORE_FUZZ_SECONDS: String(seconds), LONGSHORE_FUZZ_SEED: String(seed) },
    });
    if (status !== 0) {
      failed++;
      console.log(`\n${output.trimEnd()}\n`);
    }
    progress(`${status === 0 ? "ok  " : timedOut ? "HANG" : "FAIL"} ${file}`);
  }
  console.log(`${files.length - failed} passed, ${failed} failed`);
  return failed > 0 ? 1 : 0;
}

await runScript(fuzz);
