import type { BenchmarkResult, Contender, Summary } from "./measure.ts";

const HEADERS = ["measurement", "ours", "real", "ratio", "bar", ""] as const;

type Row = [string, string, string, string, string, string];

/** A line for each contender of ours, beside the real one. */
export function rows(results: readonly BenchmarkResult[]): Row[] {
  return results.flatMap((result) => {
    const ours = [...result.summaries].filter(([contender]) => contender !== "real");
    const real = result.summaries.get("real");
    if (ours.length === 0) return [[result.name, "–", show(real, result.unit), "", "", ""] satisfies Row];
    return ours.map(([contender, summary]) => row(result, contender, summary, real));
  });
}

function row(
  result: BenchmarkResult,
  contender: Contender,
  ours: Summary | Error,
  real: Summary | Error | undefined,
): Row {
  const { name, unit } = result;
  const ratio = isSummary(ours) && isSummary(real) ? ours.median / real.median : undefined;
  const passes = isSummary(ours) ? judge(result, ours.median, ratio) : undefined;
  return [
    contender === "ours" ? name : `${name} (${contender.replace("ours, ", "")})`,
    show(ours, unit),
    show(real, unit),
    ratio === undefined ? "" : ratio.toFixed(2),
    barOf(result),
    passes === undefined ? "" : passes ? "pass" : "miss",
  ];
}

/** Undefined when there is no bar, or nothing to compare with. */
function judge(
  { bar, limit, atLeast }: BenchmarkResult,
  ours: number,
  ratio: number | undefined,
): boolean | undefined {
  if (atLeast) {
    const { value, timesReal } = atLeast;
    if (value !== undefined && ours >= value) return true;
    if (ratio === undefined) return value === undefined ? undefined : false;
    return ratio >= timesReal;
  }
  if (limit !== undefined) return ours <= limit;
  return bar === undefined || ratio === undefined ? undefined : ratio <= bar;
}

function barOf({ unit, bar, limit, atLeast }: BenchmarkResult): string {
  if (atLeast) {
    const { value, timesReal } = atLeast;
    return `≥ ${value === undefined ? "" : `${value} ${unit} or `}${timesReal}×`;
  }
  if (limit !== undefined) return `≤ ${limit} ${unit}`;
  return bar === undefined ? "" : `≤ ${bar.toFixed(1)}`;
}

const isSummary = (summary: Summary | Error | undefined): summary is Summary =>
  summary !== undefined && !(summary instanceof Error);

function show(summary: Summary | Error | undefined, unit: string): string {
  if (summary === undefined) return "–";
  if (summary instanceof Error) return "failed";
  return unit === "/s" ? `${Math.round(summary.median)} ${unit}` : `${summary.median.toFixed(1)} ${unit}`;
}

/** A table for people: columns three spaces apart. */
export function textTable(results: readonly BenchmarkResult[]): string {
  const lines: string[][] = [HEADERS.map((header) => header.toUpperCase()), ...rows(results)];
  const widths = HEADERS.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map((line) => line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("   "))
    .map((line) => `${line.trimEnd()}\n`)
    .join("");
}

/** A table for the README, its columns padded as the repository's formatter pads them: it leaves the file as it is. */
export function markdownTable(results: readonly BenchmarkResult[]): string {
  const lines: string[][] = [[...HEADERS], ...rows(results)];
  // The formatter gives each column room for the shortest rule, "---:".
  const widths = HEADERS.map((_, column) => Math.max(4, ...lines.map((line) => line[column]?.length ?? 0)));
  const rule = widths.map((width, column) =>
    column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`,
  );
  const pad = (cell: string, column: number) =>
    column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0);
  const [header = [], ...body] = lines.map((line) => line.map(pad));
  return [header, rule, ...body].map((line) => `| ${line.join(" | ")} |\n`).join("");
}

/** Why contenders failed, one line each. */
export function failures(results: readonly BenchmarkResult[]): string[] {
  return results.flatMap(({ name, summaries }) =>
    [...summaries].flatMap(([contender, summary]) =>
      summary instanceof Error ? [`${name} (${contender}): ${summary.message}`] : [],
    ),
  );
}

export function toJson(results: readonly BenchmarkResult[], machine: string): string {
  const plain = results.map(({ summaries, ...result }) => ({
    ...result,
    contenders: Object.fromEntries(
      [...summaries].map(([contender, summary]) => [
        contender,
        summary instanceof Error ? { error: summary.message } : summary,
      ]),
    ),
  }));
  return `${JSON.stringify({ machine, results: plain }, null, 2)}\n`;
}

const START = "<!-- bench -->";
const END = "<!-- /bench -->";

/**
 * A README with everything between the markers replaced.
 *
 * @throws Error without the markers
 */
export function withFigures(readme: string, results: readonly BenchmarkResult[], machine: string): string {
  const start = readme.indexOf(START);
  const end = readme.indexOf(END);
  if (start < 0 || end < start) throw new Error(`README.md has no ${START} … ${END}`);
  const figures = `\n${markdownTable(results)}\n${machine}. Reproduce with \`npm run bench\`.\n`;
  return `${readme.slice(0, start + START.length)}\n${figures}\n${readme.slice(end)}`;
}
