import { afterAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fullPrecision, timeToNano } from "./log-entry.ts";
import { type ReadLogOptions, readLog } from "./read-log.ts";

const directory = fs.mkdtempSync(path.join(os.tmpdir(), "log-"));
afterAll(() => fs.rmSync(directory, { recursive: true }));

const line = (n: number) =>
  `${JSON.stringify({ log: `line ${n}\n`, stream: n % 2 ? "stdout" : "stderr", time: `2026-01-01T00:00:${String(n).padStart(2, "0")}.5Z` })}\n`;
const lines = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => line(from + i)).join("");

async function read(file: string, options: Partial<ReadLogOptions> = {}): Promise<string[]> {
  const found: string[] = [];
  for await (const { text } of readLog(file, { signal: new AbortController().signal, ...options }))
    found.push(text.trim());
  return found;
}

test("readLog() reads rotated files, oldest first", async () => {
  const file = path.join(directory, "rotated");
  fs.writeFileSync(`${file}.2`, lines(1, 2));
  fs.writeFileSync(`${file}.1`, lines(3, 4));
  fs.writeFileSync(file, lines(5, 6));
  expect(await read(file)).toEqual([1, 2, 3, 4, 5, 6].map((n) => `line ${n}`));
  expect(await read(file, { tail: 3 })).toEqual(["line 4", "line 5", "line 6"]);
  expect(await read(file, { tail: 0 })).toEqual([]);
  expect(await read(file, { tail: 99 })).toHaveLength(6);
});

test("readLog() keeps to since and until, and skips what is no entry", async () => {
  const file = path.join(directory, "since");
  fs.writeFileSync(file, `${lines(1, 3)}not json\n${lines(4, 5)}{"log":"cut`);
  const sinceNano = timeToNano("2026-01-01T00:00:02.5Z");
  const untilNano = timeToNano("2026-01-01T00:00:04.5Z");
  expect(await read(file, { sinceNano, untilNano })).toEqual(["line 2", "line 3", "line 4"]);
  expect(await read(file, { sinceNano, tail: 2 })).toEqual(["line 4", "line 5"]);
  expect(await read(path.join(directory, "missing"))).toEqual([]);
});

test("readLog() follows across a rotation until the container has ended", async () => {
  const file = path.join(directory, "followed");
  fs.writeFileSync(file, lines(1, 2));
  let ended = false;
  const wakers = new Set<() => void>();
  const follow = {
    ended: () => ended,
    wake: (listener: () => void) => {
      wakers.add(listener);
      return () => wakers.delete(listener);
    },
  };
  const seen: string[] = [];
  for await (const { text } of readLog(file, { tail: 1, follow, signal: new AbortController().signal })) {
    seen.push(text.trim());
    if (seen.length === 1) fs.appendFileSync(file, lines(3, 3));
    if (seen.length === 2) {
      fs.appendFileSync(file, lines(4, 4));
      fs.renameSync(file, `${file}.1`);
      fs.writeFileSync(file, lines(5, 5));
    }
    if (seen.length === 4) {
      ended = true;
      for (const wake of wakers) wake();
    }
  }
  expect(seen).toEqual(["line 2", "line 3", "line 4", "line 5"]);
});

test("times keep nine digits", () => {
  expect(fullPrecision("2026-01-01T00:00:00.5Z")).toBe("2026-01-01T00:00:00.500000000Z");
  expect(fullPrecision("2026-01-01T00:00:00Z")).toBe("2026-01-01T00:00:00.000000000Z");
  expect(timeToNano("1970-01-01T00:00:01.000000002Z")).toBe(1_000_000_002n);
});
