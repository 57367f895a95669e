import { expect, test } from "bun:test";
import { Histogram, renderMetrics } from "./prometheus.ts";

test("Histogram counts into cumulative buckets, and shows what has not happened yet", () => {
  const histogram = new Histogram("x_seconds", "How long.", "action", ["start", "delete"]);
  for (const seconds of [0.004, 0.3, 99]) histogram.observe("start", seconds);
  const text = renderMetrics([histogram.collect()]);
  expect(text).toStartWith("# HELP x_seconds How long.\n# TYPE x_seconds histogram\n");
  for (const line of [
    'x_seconds_bucket{action="start",le="0.005"} 1',
    'x_seconds_bucket{action="start",le="0.25"} 1',
    'x_seconds_bucket{action="start",le="0.5"} 2',
    'x_seconds_bucket{action="start",le="10"} 2',
    'x_seconds_bucket{action="start",le="+Inf"} 3',
    'x_seconds_sum{action="start"} 99.304',
    'x_seconds_count{action="start"} 3',
    'x_seconds_count{action="delete"} 0',
  ])
    expect(text).toContain(`${line}\n`);
  expect(() => histogram.observe("nope", 1)).toThrow("x_seconds has no action nope");
});

test("renderMetrics() escapes what labels hold", () => {
  const samples = [{ labels: { a: 'x"\\\ny' }, value: 1 }, { value: 0.5 }];
  expect(renderMetrics([{ name: "m", help: "M.", type: "gauge", samples }])).toBe(
    '# HELP m M.\n# TYPE m gauge\nm{a="x\\"\\\\\\ny"} 1\nm 0.5\n',
  );
});
