/** What a JUnit report of `bun test` says. */
export interface TestCounts {
  passed: number;
  failed: number;
  skipped: number;
  /** Names of the failed tests, `group > test`. */
  failures: string[];
}

const ENTITIES: Record<string, string> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

function unescapeXml(text: string): string {
  return text.replace(/&(?:#(\d+)|(\w+));/g, (all, code?: string, name?: string) =>
    code !== undefined ? String.fromCodePoint(Number(code)) : (ENTITIES[name ?? ""] ?? all),
  );
}

function attribute(tag: string, name: string): string {
  return unescapeXml(new RegExp(` ${name}="([^"]*)"`).exec(tag)?.[1] ?? "");
}

/** Count the test cases of a report. */
export function parseJunit(xml: string): TestCounts {
  const counts: TestCounts = { passed: 0, failed: 0, skipped: 0, failures: [] };
  for (const [, tag = "", body = ""] of xml.matchAll(/<testcase\b([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g)) {
    if (/<(failure|error)\b/.test(body)) {
      counts.failed++;
      const group = attribute(tag, "classname");
      counts.failures.push(`${group && `${group} > `}${attribute(tag, "name")}`);
    } else if (/<skipped\b/.test(body)) {
      counts.skipped++;
    } else {
      counts.passed++;
    }
  }
  return counts;
}

/** The last line of a test run. */
export function summaryLine({ passed, failed, skipped }: TestCounts): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}
