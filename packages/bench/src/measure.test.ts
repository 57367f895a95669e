import { expect, test } from "bun:test";
import { type Contender, measure, summarize } from "./measure.ts";

const options = { rounds: 4, warmUp: 2, signal: new AbortController().signal };

test("summarize() takes the middle of the sorted samples", () => {
  expect(summarize([5, 1, 100, 3, 2])).toEqual({ median: 3, p95: 100, min: 1, count: 5 });
  expect(() => summarize([])).toThrow(RangeError);
});

test("measure() lets contenders take turns and forgets the warm-up", async () => {
  const calls: Contender[] = [];
  const record = (contender: Contender) => (round: number) => {
    calls.push(contender);
    return round < options.warmUp ? 1000 : round;
  };
  const contenders = new Map([
    ["ours", record("ours")],
    ["real", record("real")],
  ] as const);
  const { summaries } = await measure({ name: "x", contenders }, options);
  expect(summaries.get("ours")).toEqual({ median: 4, p95: 5, min: 2, count: 4 });
  for (let round = 0; round < 6; round++) expect(new Set(calls.slice(2 * round, 2 * round + 2)).size).toBe(2);
});

test("measure() puts a contender that fails out and goes on", async () => {
  const contenders = new Map<Contender, () => number>([
    ["real", () => 7],
    [
      "ours",
      () => {
        throw new Error("no");
      },
    ],
  ]);
  const { summaries } = await measure({ name: "x", contenders }, options);
  expect(summaries.get("real")).toMatchObject({ median: 7 });
  expect(summaries.get("ours")).toEqual(new Error("no"));
});

test("measure() ends when it is told to", () => {
  const contenders = new Map([["ours", () => 1]] as const);
  const signal = AbortSignal.abort(new Error("enough"));
  expect(measure({ name: "x", contenders }, { ...options, signal })).rejects.toThrow("enough");
});
