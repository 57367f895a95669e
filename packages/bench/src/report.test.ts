import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import path from "node:path";
import type { BenchmarkResult, Contender, Summary } from "./measure.ts";
import { failures, markdownTable, textTable, toJson, withFigures } from "./report.ts";

const summary = (median: number) => ({ median, p95: median * 2, min: median / 2, count: 5 });

const RESULTS: BenchmarkResult[] = [
  {
    ...{ name: "docker run", unit: "ms", bar: 0.7 },
    summaries: new Map([
      ["ours", summary(60)],
      ["ours, own CLI", summary(90)],
      ["real", summary(100)],
    ]),
  },
  {
    ...{ name: "runc", unit: "ms", bar: 1 },
    summaries: new Map<Contender, Summary | Error>([
      ["ours", new Error("it broke")],
      ["real", summary(30)],
    ]),
  },
  { name: "shim", unit: "MB", limit: 4, summaries: new Map([["ours", summary(3.5)]]) },
];

test("textTable() judges what should be much", () => {
  const log = (ours: number, real?: number): BenchmarkResult => ({
    ...{ name: "log", unit: "MB/s", atLeast: { value: 150, timesReal: 4 } },
    summaries: new Map([
      ["ours", summary(ours)],
      ...(real === undefined ? [] : [["real", summary(real)] as const]),
    ]),
  });
  const verdicts = textTable([log(160), log(100, 20), log(100, 30), log(100)]).match(/pass|miss/g);
  expect(verdicts).toEqual(["pass", "pass", "miss", "miss"]);
  const times = (ours: number, real: number): BenchmarkResult => ({
    ...log(ours, real),
    atLeast: { timesReal: 4 },
  });
  expect(textTable([times(90, 20), times(70, 20)]).match(/≥ 4× +(pass|miss)/g)).toEqual([
    "≥ 4×   pass",
    "≥ 4×   miss",
  ]);
});

test("textTable() judges each of ours beside the real one", () => {
  expect(textTable(RESULTS)).toBe(
    `MEASUREMENT            OURS      REAL       RATIO   BAR
docker run             60.0 ms   100.0 ms   0.60    ≤ 0.7    pass
docker run (own CLI)   90.0 ms   100.0 ms   0.90    ≤ 0.7    miss
runc                   failed    30.0 ms            ≤ 1.0
shim                   3.5 MB    –                  ≤ 4 MB   pass
`,
  );
  expect(failures(RESULTS)).toEqual(["runc (ours): it broke"]);
});

test("markdownTable() is what the formatter would make of it", () => {
  expect(markdownTable(RESULTS)).toBe(
    `| measurement          |    ours |     real | ratio |    bar |      |
| -------------------- | ------: | -------: | ----: | -----: | ---: |
| docker run           | 60.0 ms | 100.0 ms |  0.60 |  ≤ 0.7 | pass |
| docker run (own CLI) | 90.0 ms | 100.0 ms |  0.90 |  ≤ 0.7 | miss |
| runc                 |  failed |  30.0 ms |       |  ≤ 1.0 |      |
| shim                 |  3.5 MB |        – |       | ≤ 4 MB | pass |
`,
  );
});

test("withFigures() leaves a README that the formatter leaves as it is", () => {
  const biome = path.resolve(import.meta.dir, "../../../node_modules/.bin/biome");
  const text = withFigures("# x\n\n<!-- bench -->\n<!-- /bench -->\n\nend\n", RESULTS, "A machine");
  const args = ["format", "--stdin-file-path=README.md"];
  const { stdout, status } = spawnSync(biome, args, { input: text, encoding: "utf8" });
  expect(status).toBe(0);
  expect(stdout).toBe(text);
});

test("withFigures() replaces what is between the markers", () => {
  const readme = "# x\n<!-- bench -->\nold\n<!-- /bench -->\nend\n";
  const text = withFigures(readme, RESULTS, "A machine");
  expect(text).toContain(markdownTable(RESULTS));
  expect(text).not.toContain("old");
  expect(withFigures(text, RESULTS, "A machine")).toBe(text);
  expect(() => withFigures("# x\n", RESULTS, "")).toThrow("<!-- bench -->");
});

test("toJson() has the figures by contender", () => {
  const { results } = JSON.parse(toJson(RESULTS, "A machine"));
  expect(results[0].contenders.real).toEqual(summary(100));
  expect(results[1].contenders.ours).toEqual({ error: "it broke" });
});
