import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { execute } from "./execute.ts";
import { parseJunit, summaryLine, type TestCounts } from "./junit.ts";
import { distDir, repoRoot } from "./paths.ts";
import { Refusal, runScript } from "./refusal.ts";
import { progress, setup } from "./setup.ts";
import { testFiles } from "./test-files.ts";

const KINDS = ["unit", "service", "e2e"] as const;
type Kind = (typeof KINDS)[number];

/** How long one process of `bun test` may take; a unit run is a whole package, the others one file. */
const FILE_TIMEOUT_MS: Record<Kind, number> = { unit: 120_000, service: 300_000, e2e: 600_000 };
/** Of one test, where it doesn't set its own. */
const TEST_TIMEOUT_MS: Record<Kind, number> = { unit: 15_000, service: 60_000, e2e: 120_000 };

const bin = (name: string) => path.join(repoRoot, "node_modules/.bin", name);

const REAPER = path.join(repoRoot, "packages/tooling/src/reap.ts");

interface Run {
  kind: Kind;
  name: string;
  files: string[];
}

/** Unit tests a package at a time, the others a file at a time. */
function findRuns(): Run[] {
  const folders = ["packages", "services"].flatMap((top) =>
    fs.readdirSync(path.join(repoRoot, top)).map((name) => `${top}/${name}`),
  );
  const unit = folders
    .filter((folder) => folder !== "packages/e2e")
    .map(
      (folder): Run => ({ kind: "unit", name: folder, files: testFiles(path.join(repoRoot, folder, "src")) }),
    );
  const single = (kind: Kind, files: string[]) =>
    files.map((file): Run => ({ kind, name: file, files: [file] }));
  const service = folders
    .filter((folder) => folder !== "packages/e2e")
    .flatMap((folder) => single("service", testFiles(path.join(repoRoot, folder, "test"))));
  return [...unit, ...service, ...single("e2e", testFiles(path.join(repoRoot, "packages/e2e")))];
}

class Report {
  readonly #counts = new Map<string, TestCounts>();

  get total(): TestCounts {
    const all = [...this.#counts];
    const sum = (of: (counts: TestCounts) => number) =>
      all.reduce((total, [, counts]) => total + of(counts), 0);
    return {
      passed: sum(({ passed }) => passed),
      failed: sum(({ failed }) => failed),
      skipped: sum(({ skipped }) => skipped),
      failures: all.flatMap(([name, { failures }]) => failures.map((failure) => `${name}: ${failure}`)),
    };
  }

  failed(name: string): boolean {
    return (this.#counts.get(name)?.failed ?? 0) > 0;
  }

  /** What came of a run; of one that was made again, the last counts. */
  add(name: string, counts: TestCounts, seconds: number, output: string): void {
    this.#counts.set(name, counts);
    if (counts.failed > 0) console.log(`\n${output.trimEnd()}\n`);
    for (const [line] of output.matchAll(/^# skipped: .*$/gm)) console.log(`          ${line}`);
    progress(
      `${counts.failed > 0 ? "FAIL" : "ok  "} ${name}: ${summaryLine(counts)} (${seconds.toFixed(1)} s)`,
    );
  }

  /** A check that is one test. */
  check(name: string, ok: boolean, seconds: number, output: string): void {
    const counts = { passed: Number(ok), failed: Number(!ok), skipped: 0, failures: ok ? [] : ["failed"] };
    this.add(name, counts, seconds, output);
  }
}

async function runTests(
  run: Run,
  report: Report,
  reportDir: string,
  extra: string[],
  echo: boolean,
): Promise<void> {
  const began = Date.now();
  const xml = reportFile(reportDir, run);
  const args = [
    "test",
    `--timeout=${TEST_TIMEOUT_MS[run.kind]}`,
    "--reporter=junit",
    `--reporter-outfile=${xml}`,
  ];
  const files = run.files.map((file) => `./${file}`);
  const command = [REAPER, bin("bun"), ...args, ...extra, ...files];
  const outcome = await execute(bin("bun"), command, { timeoutMs: FILE_TIMEOUT_MS[run.kind], echo });
  const counts = fs.existsSync(xml) ? parseJunit(fs.readFileSync(xml, "utf8")) : parseJunit("");
  const noneMatched =
    extra.length > 0 && /matched 0 tests|0 tests? matched|No tests? matched/i.test(outcome.output);
  if (outcome.status !== 0 && counts.failed === 0 && !noneMatched) {
    counts.failed++;
    counts.failures.push(outcome.timedOut ? "took too long" : `ended with status ${outcome.status}`);
  }
  report.add(run.name, counts, (Date.now() - began) / 1000, echo ? "" : outcome.output);
}

/** More than these aren't chance. */
const TRIED_AGAIN = 5;

/**
 * What failed runs once more, by itself: many tests here kill daemons at chance moments, beside a kernel that is still busy with the ones
 * before. That it failed at first stays in the output.
 */
async function tryAgain(failed: readonly Run[], report: Report, reportDir: string): Promise<void> {
  for (const run of failed) {
    progress(`once more: ${run.name}`);
    fs.rmSync(reportFile(reportDir, run), { force: true });
    await runTests(run, report, reportDir, [], false);
    if (!report.failed(run.name)) console.log(`UNSTEADY ${run.name}: passed the second time only`);
  }
}

const reportFile = (reportDir: string, { name }: Run) =>
  path.join(reportDir, `${name.replaceAll("/", "-")}.xml`);

async function staticChecks(report: Report): Promise<void> {
  const checks: [string, string[]][] = [
    ["typecheck", [bin("tsc"), "-p", "tsconfig.json"]],
    ["lint", [bin("biome"), "check", "--error-on-warnings", "--max-diagnostics=50", "."]],
  ];
  for (const [name, [command = "", ...args]] of checks) {
    const began = Date.now();
    const { status, output } = await execute(command, args, { timeoutMs: 300_000 });
    report.check(name, status === 0, (Date.now() - began) / 1000, output);
  }
}

const HELP = `Usage: npm test -- [--only unit|service|e2e]... [-t PATTERN] [--verbose] [NAME]...

Sets this machine up and runs every test, or those in files whose path contains a NAME.

  --only KIND   only these tests (and neither type check nor lint)
  -t PATTERN    only tests whose name matches
  --verbose     show all output of the tests`;

async function test(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      only: { type: "string", multiple: true },
      "test-name-pattern": { type: "string", short: "t" },
      verbose: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  for (const kind of values.only ?? []) {
    if (!KINDS.some((known) => known === kind))
      throw new Refusal(`--only ${kind}: must be one of ${KINDS.join(", ")}`);
  }
  const whole = !values.only && positionals.length === 0 && values["test-name-pattern"] === undefined;

  setup({ tests: true });
  const { leaksSince, removePeersGroups, traces } = await import("@longshore/testkit");
  const now = () => traces({ binDirs: [distDir] });
  const before = now();
  const known = new Set(before);
  const report = new Report();
  const reportDir = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-junit-"));
  const pattern = values["test-name-pattern"];
  const extra = pattern === undefined ? [] : [`--test-name-pattern=${pattern}`];
  try {
    if (whole) await staticChecks(report);
    const runs = findRuns()
      .filter(({ kind }) => values.only?.includes(kind) ?? true)
      .map((run) => ({
        ...run,
        files: run.files.filter(
          (file) => positionals.length === 0 || positionals.some((name) => file.includes(name)),
        ),
      }))
      .filter(({ files }) => files.length > 0);
    // One after the other: they share the machine's network, its cgroups and, for timings, its two cores.
    for (const run of runs) await runTests(run, report, reportDir, extra, values.verbose ?? false);
    const failed = runs.filter(({ name }) => report.failed(name));
    if (whole && failed.length > 0 && failed.length <= TRIED_AGAIN) {
      // A test that didn't come to its end can't have cleaned up.
      for (const leak of await leaksSince(before, now)) {
        console.log(`left by what failed: ${leak}`);
        known.add(leak);
      }
      await tryAgain(failed, report, reportDir);
    }
  } finally {
    fs.rmSync(reportDir, { recursive: true });
  }
  const began = Date.now();
  removePeersGroups(before);
  const leaks = await leaksSince(known, now);
  report.check("nothing is left behind", leaks.length === 0, (Date.now() - began) / 1000, leaks.join("\n"));

  const { total } = report;
  for (const failure of total.failures) console.log(`FAIL ${failure}`);
  console.log(summaryLine(total));
  return total.failed > 0 ? 1 : 0;
}

await runScript(test);
