import { expect, test } from "bun:test";
import { parseJunit, summaryLine } from "./junit.ts";

const report = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="bun test" tests="4" assertions="1" failures="1" skipped="2" time="0.008">
  <testsuite name="a.test.ts" file="a.test.ts" tests="4">
    <testcase name="ok &amp; &lt;fine&gt;" classname="" time="0.000004" file="a.test.ts" line="2" assertions="0" />
    <testcase name="skipped" classname="" time="0" file="a.test.ts" line="3" assertions="0">
      <skipped />
    </testcase>
    <testcase name="todo" classname="" time="0" file="a.test.ts" line="4" assertions="0">
      <skipped message="TODO" />
    </testcase>
    <testsuite name="group" file="a.test.ts" line="5" tests="1">
      <testcase name="is &lt;b&gt;" classname="group" time="0.00192" file="a.test.ts" line="5" assertions="1">
        <failure type="AssertionError" message="expect(received).toBe(expected)">x</failure>
      </testcase>
    </testsuite>
  </testsuite>
</testsuites>`;

test("parseJunit() counts the cases of nested suites and names the failed ones", () => {
  expect(parseJunit(report)).toEqual({ passed: 1, failed: 1, skipped: 2, failures: ["group > is <b>"] });
});

test("summaryLine() mentions skipped tests only when there are some", () => {
  expect(summaryLine(parseJunit(report))).toBe("1 passed, 1 failed, 2 skipped");
  expect(summaryLine({ passed: 3, failed: 0, skipped: 0, failures: [] })).toBe("3 passed, 0 failed");
});
