import { expect, test } from "bun:test";
import { type CommandResult, eventually, run } from "@longshore/testkit";
import type { Daemon } from "./daemon.ts";

/** One command line of ctr, what it must print, and what it must have done. */
export interface Row {
  /** The words after ctr's global flags; `{name}` stands for a value of the table, `{name…}` for several words of it. */
  readonly ctr: string;
  /** Further words, taken as they are. */
  readonly words?: readonly string[];
  readonly stdin?: string;
  /** Run ctr on a terminal; what it prints then has CR LF line ends. */
  readonly terminal?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  /** What stdout must be, or match; named groups become values of the table. */
  readonly out?: string | RegExp;
  /** What stderr must match, though the command succeeds. */
  readonly warns?: RegExp;
  /** What stderr must match; the command must fail then. */
  readonly fails?: RegExp;
  /** The exit status it must have, when neither 0 nor any failure will do. */
  readonly status?: number;
  /** What it must have brought about: asked again and again until it is true, or for one assertion thrown. */
  effect?(answer: CommandResult): unknown;
}

export type Values = Record<string, string>;

/** Run the rows one after the other, each a test of its own. */
export function runTable(daemon: () => Daemon, values: () => Values, rows: readonly Row[]): void {
  for (const row of rows) {
    test(`ctr ${[row.ctr, ...(row.words ?? [])].join(" ")}`, () => runRow(daemon(), values(), row));
  }
}

async function runRow(daemon: Daemon, values: Values, row: Row): Promise<void> {
  const words = row.ctr.split(" ").map((word) => replaceValues(word, values));
  const more = (row.words ?? []).map((word) => replaceValues(word, values));
  const answer = await run(
    ["/usr/bin/ctr", "-a", daemon.address, "-n", daemon.namespace, ...words, ...more],
    {
      ...(row.stdin !== undefined && { stdin: row.stdin }),
      ...(row.terminal && { terminal: true }),
      ...(row.env && { env: row.env }),
    },
  );
  if (row.warns) expect(answer.stderr).toMatch(replaceIn(row.warns, values));
  if (row.fails) {
    expect(answer.stderr).toMatch(replaceIn(row.fails, values));
    expect(answer.status).not.toBe(0);
  } else {
    expect([answer.stderr, answer.status]).toEqual([
      row.status ? expect.anything() : answer.stderr,
      row.status ?? 0,
    ]);
  }
  if (typeof row.out === "string") expect(answer.stdout).toBe(replaceValues(row.out, values));
  else if (row.out) {
    const pattern = replaceIn(row.out, values);
    expect(answer.stdout).toMatch(pattern);
    const match = pattern.exec(answer.stdout);
    Object.assign(values, match?.groups);
  }
  if (row.effect) {
    const what = `the effect of ctr ${row.ctr}`;
    await eventually(async () => (await row.effect?.(answer)) !== false, { what });
  }
}

const PLACE = /\{([a-z][A-Za-z0-9]*)\}/g;

function replaceIn(pattern: RegExp, values: Values): RegExp {
  return new RegExp(replaceValues(pattern.source, values), pattern.flags);
}

function replaceValues(text: string, values: Values): string {
  return text.replace(PLACE, (_, name: string) => known(name, values));
}

function known(name: string, values: Values): string {
  const value = values[name];
  if (value === undefined) throw new Error(`the table has no value ${name}`);
  return value;
}
