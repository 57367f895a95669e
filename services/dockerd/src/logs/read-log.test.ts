import { afterAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fullPrecision, parseLogBytes, parseLogLine, timeToNano } from "./log-entry.ts";
import { type ReadLogOptions, readLog } from "./read-log.ts";

const directory = fs.mkdtempSync(path.join(os.tmpdir(), "log-"));
afterAll(() => fs.rmSync(directory, { recursive: true }));

const line = (n: number) =>
  `${JSON.stringify({ log: `line ${n}\n`, stream: n % 2 ? "stdout" : "stderr", time: `2026-01-01T00:00:${String(n).padStart(2, "0")}.5Z` })}\n`;
const lines = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => line(from + i)).join("");

async function read(file: string, options: Partial<ReadLogOptions> = {}): Promise<string[]> {
  const found: string[] = [];
  for await (const some of readLog(file, { signal: new AbortController().signal, ...options }))
    found.push(...some.map(({ text }) => text.trim()));
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

test("readLog() reads compressed files, and of a file in both forms one", async () => {
  const file = path.join(directory, "compressed");
  const gzip = (n: number, text: string) =>
    fs.writeFileSync(`${file}.${n}.gz`, Bun.gzipSync(Buffer.from(text)));
  gzip(3, lines(1, 3));
  gzip(2, lines(4, 6));
  gzip(1, "torn");
  fs.writeFileSync(`${file}.1`, lines(7, 8));
  fs.writeFileSync(file, lines(9, 9));
  const all = Array.from({ length: 9 }, (_, i) => `line ${i + 1}`);
  expect(await read(file)).toEqual(all);
  for (const tail of [1, 2, 4, 6, 8, 20]) expect(await read(file, { tail })).toEqual(all.slice(-tail));
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
  for await (const some of readLog(file, { tail: 1, follow, signal: new AbortController().signal })) {
    for (const { text } of some) {
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
  }
  expect(seen).toEqual(["line 2", "line 3", "line 4", "line 5"]);
});

test("readLog() follows across rotations that came faster than its looks, and files started over", async () => {
  const file = path.join(directory, "fast");
  fs.writeFileSync(file, lines(1, 1));
  let ended = false;
  const follow = { ended: () => ended, wake: () => () => {} };
  const seen: string[] = [];
  for await (const some of readLog(file, { follow, signal: new AbortController().signal })) {
    for (const { text } of some) {
      seen.push(text.trim());
      if (seen.length === 1) {
        // Rotated three times: what was being read has another inode by now.
        fs.appendFileSync(file, lines(2, 2));
        fs.writeFileSync(`${file}.3.gz`, Bun.gzipSync(fs.readFileSync(file)));
        Bun.spawnSync(["touch", "-r", file, `${file}.3.gz`]);
        fs.rmSync(file);
        fs.writeFileSync(`${file}.2.gz`, Bun.gzipSync(Buffer.from(lines(3, 4))));
        fs.writeFileSync(`${file}.1`, lines(5, 6));
        fs.writeFileSync(file, lines(7, 8));
      }
      if (seen.length === 8) fs.writeFileSync(file, lines(9, 9));
      if (seen.length === 9) ended = true;
    }
  }
  expect(seen).toEqual(Array.from({ length: 9 }, (_, i) => `line ${i + 1}`));
}, 10_000);

test("times keep nine digits", () => {
  expect(fullPrecision("2026-01-01T00:00:00.5Z")).toBe("2026-01-01T00:00:00.500000000Z");
  expect(fullPrecision("2026-01-01T00:00:00Z")).toBe("2026-01-01T00:00:00.000000000Z");
  expect(timeToNano("1970-01-01T00:00:01.000000002Z")).toBe(1_000_000_002n);
});

test("parseLogBytes() reads what parseLogLine() reads", () => {
  const time = "2026-01-01T00:00:00.123456789Z";
  const texts = [
    "plain\n",
    "",
    "\n",
    "no end",
    'a "quote"\n',
    "back\\slash\n",
    "\\n",
    "tab\t\n",
    "é 漢 😀\n",
    "\u0000\n",
  ];
  for (const log of texts) {
    for (const stream of ["stdout", "stderr"]) {
      const text = JSON.stringify({ log, stream, time });
      const bytes = Buffer.from(`before\n${text}\n{"log":"a\\tb`);
      expect(parseLogBytes(bytes, 7, 7 + Buffer.byteLength(text))).toEqual({
        text: log,
        stream: stream as "stdout",
        time,
      });
    }
  }
  for (const odd of [
    `{"log":"x"}`,
    `"}`,
    "{}",
    `{"log":"","stream":"stdout","time":5}`,
    `","stream":"stdout","time":"T"}`,
  ]) {
    const bytes = Buffer.from(odd);
    expect(parseLogBytes(bytes, 0, bytes.length)).toEqual(parseLogLine(odd));
  }
});
