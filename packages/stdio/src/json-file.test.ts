import { afterAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { JsonFileWriter, MAX_LINE_BYTES } from "./json-file.ts";

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-json-file-"));
afterAll(() => fs.rmSync(dir, { recursive: true }));

interface Entry {
  log: string;
  stream: string;
  time: string;
}

const entries = (file: string) =>
  fs
    .readFileSync(file, "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Entry);
const logs = (file: string) => entries(file).map((entry) => entry.log);
const fail = (error: unknown) => {
  throw error;
};

function open(name: string, limits: { maxSizeBytes?: number; maxFiles?: number } = {}) {
  const file = path.join(dir, name);
  return { file, writer: new JsonFileWriter({ path: file, ...limits }, { onError: fail }) };
}

test("JsonFileWriter writes an entry a line, each stream on its own, whatever way the bytes are cut", () => {
  const text = "one\ntwo\n\nthree";
  for (let size = 1; size <= text.length; size++) {
    const { file, writer } = open(`cut-${size}`);
    for (let at = 0; at < text.length; at += size) {
      writer.write("stdout", Buffer.from(text.slice(at, at + size)));
      writer.write("stderr", Buffer.from(`e${at}\n`));
    }
    writer.close();
    const of = (stream: string) =>
      entries(file)
        .filter((e) => e.stream === stream)
        .map((e) => e.log);
    expect(of("stdout")).toEqual(["one\n", "two\n", "\n", "three"]);
    expect(of("stderr").length).toBe(Math.ceil(text.length / size));
  }
});

test("JsonFileWriter has Docker's fields, order and time format", () => {
  const { file, writer } = open("format");
  writer.write("stdout", Buffer.from('hi <&> "q" \\ \t\u0007 \u00e9\n'));
  writer.close();
  expect(fs.readFileSync(file, "utf8")).toMatch(
    /^\{"log":"hi \\u003c\\u0026\\u003e \\"q\\" \\\\ \\t\\u0007 é\\n","stream":"stdout","time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z"\}\n$/,
  );
});

test("JsonFileWriter cuts lines after 16 KiB; only the last part has the newline, all have one time", () => {
  const { file, writer } = open("long");
  const line = "x".repeat(MAX_LINE_BYTES * 2 + 5);
  writer.write("stdout", Buffer.from(`${line}\n${"y".repeat(MAX_LINE_BYTES)}\nz\n`));
  writer.write("stdout", Buffer.from("p".repeat(10_000)));
  writer.write("stdout", Buffer.from("p".repeat(10_000)));
  writer.close();
  const all = entries(file);
  expect(all.map((e) => [e.log[0], e.log.length])).toEqual([
    ["x", MAX_LINE_BYTES],
    ["x", MAX_LINE_BYTES],
    ["x", 6],
    ["y", MAX_LINE_BYTES + 1],
    ["z", 2],
    ["p", MAX_LINE_BYTES],
    ["p", 20_000 - MAX_LINE_BYTES],
  ]);
  expect(new Set(all.slice(0, 3).map((e) => e.time)).size).toBe(1);
});

test("JsonFileWriter keeps lines of all kinds in order, and each file below its limit and an entry", () => {
  const kinds = [
    "plain",
    "",
    'q"\\t\u0001<&>',
    "grün \u{1f9c0}",
    "z".repeat(3000),
    "w".repeat(MAX_LINE_BYTES),
    "v".repeat(MAX_LINE_BYTES + 1),
  ];
  const { file, writer } = open("kinds", { maxSizeBytes: 200_000, maxFiles: 100 });
  const lines = Array.from({ length: 2000 }, (_, i) => `${i} ${kinds[(i * i) % kinds.length]}\n`);
  const bytes = Buffer.from(lines.join(""));
  for (let at = 0; at < bytes.length; at += 65_536) writer.write("stdout", bytes.subarray(at, at + 65_536));
  writer.close();
  const files = fs.readdirSync(dir).filter((name) => name.startsWith("kinds"));
  const number = (name: string) => Number(/\.(\d+)$/.exec(name)?.[1] ?? 0);
  files.sort((a, b) => number(b) - number(a));
  expect(files.flatMap((name) => logs(path.join(dir, name))).join("")).toBe(lines.join(""));
  expect(files.length).toBeGreaterThan(5);
  for (const name of files.slice(0, -1)) {
    const size = fs.statSync(path.join(dir, name)).size;
    expect(size).toBeGreaterThanOrEqual(200_000);
    expect(size).toBeLessThan(200_000 + MAX_LINE_BYTES + 256);
  }
  expect(fs.statSync(`${file}.1`).size).toBeGreaterThanOrEqual(200_000);
});

test("JsonFileWriter keeps any bytes parseable", () => {
  const { file, writer } = open("binary");
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  writer.write("stdout", bytes);
  writer.write("stdout", Buffer.alloc(MAX_LINE_BYTES, 1));
  writer.close();
  expect(logs(file).join("").slice(0, 128)).toBe(bytes.subarray(0, 128).toString("latin1"));
});

test("JsonFileWriter rotates at the size and keeps so many files", () => {
  const { file, writer } = open("rotate", { maxSizeBytes: 1000, maxFiles: 3 });
  for (let i = 0; i < 200; i++) writer.write("stdout", Buffer.from(`line ${i}\n`));
  writer.close();
  expect(
    fs
      .readdirSync(dir)
      .filter((name) => name.startsWith("rotate"))
      .sort(),
  ).toEqual(["rotate", "rotate.1", "rotate.2"]);
  const kept = [`${file}.2`, `${file}.1`, file].flatMap(logs);
  expect(kept).toEqual(Array.from({ length: kept.length }, (_, i) => `line ${200 - kept.length + i}\n`));
  expect(fs.statSync(`${file}.1`).size).toBeGreaterThanOrEqual(1000);
  expect(fs.statSync(`${file}.1`).size).toBeLessThan(1100);
});

test("JsonFileWriter with one file starts it over, and goes on with a file that is there", () => {
  const first = open("one", { maxSizeBytes: 300 });
  for (let i = 0; i < 10; i++) first.writer.write("stdout", Buffer.from(`line ${i}\n`));
  first.writer.close();
  const before = logs(first.file);
  expect(before.at(-1)).toBe("line 9\n");
  expect(before.length).toBeLessThan(6);
  const second = open("one");
  second.writer.write("stderr", Buffer.from("again\n"));
  second.writer.close();
  expect(logs(first.file)).toEqual([...before, "again\n"]);
});

test("JsonFileWriter cuts off what a killed writer left of an entry, and no more", () => {
  for (const whole of [[], ["one\n"], ["one\n", `${"<".repeat(MAX_LINE_BYTES)}`]]) {
    const { file, writer } = open(`torn-${whole.length}`);
    for (const line of whole) writer.write("stdout", Buffer.from(line));
    writer.close();
    const size = fs.existsSync(file) ? fs.statSync(file).size : 0;
    fs.appendFileSync(file, `{"log":"${"\\u003c".repeat(MAX_LINE_BYTES - 1)}`);
    const next = new JsonFileWriter({ path: file }, { onError: fail });
    expect(fs.statSync(file).size).toBe(size);
    next.write("stdout", Buffer.from("two\n"));
    next.close();
    expect(logs(file)).toEqual([...whole, "two\n"]);
  }
});

test("JsonFileWriter tells a failing disk once and goes on", () => {
  const errors: unknown[] = [];
  const writer = new JsonFileWriter({ path: "/dev/full" }, { onError: (error) => errors.push(error) });
  for (let i = 0; i < 3; i++) writer.write("stdout", Buffer.from("x\n"));
  writer.close();
  expect(errors.length).toBe(1);
});

test("JsonFileWriter goes on where another stopped, in the middle of a line", () => {
  const { file, writer } = open("unfinished");
  writer.write("stdout", Buffer.from("whole\nbegun \u00e4"));
  writer.write("stderr", Buffer.from("other"));
  const { suspended } = writer;
  expect(entries(file)).toHaveLength(1);
  const moved = `${file}.moved`;
  fs.renameSync(file, moved);
  const next = new JsonFileWriter({ path: file }, { onError: fail }, JSON.parse(JSON.stringify(suspended)));
  next.write("stdout", Buffer.from(" ended\n"));
  next.close();
  expect(fs.existsSync(file)).toBe(false);
  expect(logs(moved)).toEqual(["whole\n", "begun \u00e4 ended\n", "other"]);
  const long = open("unfinished-long").writer;
  long.write("stdout", Buffer.alloc(MAX_LINE_BYTES + 1, 97));
  expect(long.suspended).toBeUndefined();
});
