import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { busyboxImage, findExecutable, findStaticBusybox, type Suite, serveImages } from "@longshore/suite";
import { imageNames, serveBenchImages } from "./bench-registry.ts";
import { dockerBenchmarks, removeContainers } from "./docker-benchmarks.ts";
import { EXIT_EVENT, measureExitEvents } from "./exit-events.ts";
import { type Flags, parseFlags, USAGE } from "./flags.ts";
import { imageBenchmarkNames, imageBenchmarks } from "./image-benchmarks.ts";
import { listBenchmark } from "./list-benchmark.ts";
import { logBenchmarks } from "./log-benchmark.ts";
import { type Benchmark, type BenchmarkResult, type Contender, measure } from "./measure.ts";
import { measureEngines, measureMemory } from "./memory.ts";
import {
  cgroupParentOf,
  insideDirectory,
  runInMemory,
  runInside,
  seeOnlyCgroup2,
  useFreshFileSystem,
} from "./namespaces.ts";
import { ATTACH, bridgeBeyondNone, measureAttach, networkBenchmarks } from "./network-benchmarks.ts";
import { failures, textTable, toJson, withFigures } from "./report.ts";
import { crunBenchmark, runtimeBenchmarks } from "./runtime-benchmarks.ts";
import { byEngine, prepareStacks, type Stack, startOurs, startReal } from "./stacks.ts";

const REPOSITORY = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");
const MEMORY = "private memory";

async function main(): Promise<number> {
  const flags = parseFlags(process.argv.slice(2));
  if (flags === "help") {
    process.stdout.write(USAGE);
    return 0;
  }
  const busybox = findStaticBusybox();
  if (process.getuid?.() !== 0) throw new Error("bench needs root");
  const binDir = path.resolve(flags.binDir ?? path.join(REPOSITORY, "dist/bin"));
  if (!fs.existsSync(path.join(binDir, "dockerd")))
    throw new Error(`${binDir} has no executables: run \`npm run build\``);
  if (!busybox) throw new Error("a static busybox is missing: install busybox-static");
  const dir = insideDirectory();
  if (dir === undefined) return runInside();

  const abort = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => abort.abort());
  const results: BenchmarkResult[] = [];
  const problems: string[] = [];
  try {
    await runAll({ flags, busybox, binDir, dir, results, signal: abort.signal });
  } catch (error) {
    // What was measured so far is shown all the same.
    problems.push(error instanceof Error ? error.message : String(error));
  }
  problems.push(...failures(results));
  const machine = describeMachine();
  process.stdout.write(`\n${textTable(results)}\n${machine}\n`);
  if (flags.json !== undefined) fs.writeFileSync(flags.json, toJson(results, machine));
  if (flags.readme && problems.length === 0) {
    const file = path.join(REPOSITORY, "README.md");
    fs.writeFileSync(file, withFigures(fs.readFileSync(file, "utf8"), results, machine));
  }
  for (const problem of problems) process.stderr.write(`bench: ${problem}\n`);
  return problems.length > 0 ? 1 : 0;
}

interface Run {
  readonly flags: Flags;
  readonly busybox: string;
  readonly binDir: string;
  readonly dir: string;
  /** Filled as it goes. */
  readonly results: BenchmarkResult[];
  readonly signal: AbortSignal;
}

/** Everything the flags ask for. */
async function runAll({ flags, busybox, binDir, dir, results, signal }: Run): Promise<void> {
  const cgroupParent = cgroupParentOf(dir);
  const wanted = (name: string) => name.includes(flags.filter);
  const rounds = flags.short ? { rounds: 5, warmUp: 1 } : { rounds: 41, warmUp: 3 };
  // Each has an image of its own, and takes seconds.
  const imageRounds = flags.short ? { rounds: 3, warmUp: 1 } : { rounds: 7, warmUp: 1 };
  const run = async (benchmark: Benchmark, times = rounds): Promise<void> => {
    if (!wanted(benchmark.name)) return;
    process.stderr.write(`${benchmark.name} …\n`);
    results.push(await measure(benchmark, { ...times, signal }));
  };
  if (imageBenchmarkNames.some(wanted)) useFreshFileSystem(dir);

  const runtimes = new Map<Contender, string>([["ours", path.join(binDir, "runc")]]);
  const realRunc = ["/usr/sbin/runc", "/usr/bin/runc"].find((file) => fs.existsSync(file));
  if (realRunc) runtimes.set("real", realRunc);
  const runtimeOptions = { dir: path.join(dir, "runc"), busybox, cgroupParent, runtimes };
  for (const benchmark of runtimeBenchmarks(runtimeOptions)) await run(benchmark);

  if (wanted(ATTACH)) {
    process.stderr.write(`${ATTACH} …\n`);
    results.push(await measureAttach(flags.short ? 20 : 100));
  }

  // Without engines they have their names only.
  const named = [
    ...[...dockerBenchmarks([]), ...logBenchmarks([])],
    ...[...networkBenchmarks([], dir), listBenchmark([])],
  ].map(({ name }) => name);
  if ([...named, ...imageBenchmarkNames, EXIT_EVENT, MEMORY].some(wanted)) {
    await withStacks({ dir, busybox, binDir, cgroupParent, signal }, async (stacks) => {
      for (const benchmark of dockerBenchmarks(stacks)) await run(benchmark);
      const beyond = bridgeBeyondNone(results);
      if (beyond) results.push(beyond);
      for (const benchmark of [...networkBenchmarks(stacks, dir), ...logBenchmarks(stacks)])
        await run(benchmark, { rounds: flags.short ? 3 : 9, warmUp: 1 });
      if (imageBenchmarkNames.some(wanted)) {
        const names = imageNames.filter((_, at) =>
          [0, 1, 2].some((kind) => wanted(imageBenchmarkNames[at + kind * imageNames.length] ?? "")),
        );
        const served = { names, rounds: imageRounds.rounds + imageRounds.warmUp };
        await using images = await serveBenchImages(path.join(dir, "images"), served);
        if (images)
          for (const benchmark of imageBenchmarks(stacks, images)) await run(benchmark, imageRounds);
      }
      const [ours] = stacks;
      if (ours && wanted(EXIT_EVENT)) {
        process.stderr.write(`${EXIT_EVENT} …\n`);
        results.push(await measureExitEvents(ours, flags.short ? 15 : 50));
      }
      // With a thousand containers there, nothing else is measured.
      await run(listBenchmark(stacks));
      if (!wanted(MEMORY)) return;
      for (const stack of byEngine(stacks)) await removeContainers(stack);
      process.stderr.write(`${MEMORY} …\n`);
      results.push(...(await measureMemory(stacks, 5)));
      for (const stack of byEngine(stacks)) await removeContainers(stack);
      results.push(...(await measureEngines(stacks)));
    });
  }

  // Last, for it changes what is at /sys/fs/cgroup.
  const crun = findExecutable("crun");
  if (crun === undefined || !seeOnlyCgroup2()) return;
  const beside = new Map(runtimes).set("real", crun);
  await run(crunBenchmark({ ...runtimeOptions, cgroupParent: `${cgroupParent}-crun`, runtimes: beside }));
}

async function withStacks(
  options: { dir: string; busybox: string; binDir: string; cgroupParent: string; signal: AbortSignal },
  work: (stacks: readonly Stack[]) => Promise<void>,
): Promise<void> {
  const { dir, busybox, binDir, cgroupParent, signal } = options;
  const suites: Suite[] = [];
  const images = await serveImages({ images: { "busybox:bench": busyboxImage(busybox) } });
  let stacks: Stack[] = [];
  try {
    const start = { binDir, cgroupParent };
    for (const name of ["ours", "real"]) runInMemory(path.join(dir, name));
    const ours = await startOurs({ ...start, dir: path.join(dir, "ours") });
    suites.push(ours);
    const real = await startReal({ ...start, dir: path.join(dir, "real") });
    if (real) suites.push(real);
    signal.throwIfAborted();
    stacks = await prepareStacks({ ours, real, images, dir });
    await work(stacks);
  } finally {
    for (const stack of byEngine(stacks))
      await removeContainers(stack).catch((error) => process.stderr.write(`bench: ${error.message}\n`));
    for (const suite of suites) await suite.stop();
    await images[Symbol.asyncDispose]();
  }
}

/** What the figures hold for. */
function describeMachine(): string {
  const version = (name: string): string[] => {
    const file = findExecutable(name);
    const line = file && spawnSync(file, ["--version"], { encoding: "utf8" }).stdout?.split("\n")[0];
    const number = /\d+\.\d+\.\d+/.exec(line ?? "")?.[0];
    return number === undefined ? [] : [`${name} ${number}`];
  };
  const peers = ["dockerd", "containerd", "runc", "crun"].flatMap(version).join(", ");
  const { length: cores } = os.cpus();
  return `Medians on ${cores} cores, Linux ${os.release()}${peers && `; real: ${peers}`}`;
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`bench: ${error instanceof Error ? error.message : error}\n`);
    process.exitCode = 1;
  },
);
