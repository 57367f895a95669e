import { expect, test } from "bun:test";
import { LineSplitter } from "./line-splitter.ts";

test("LineSplitter makes lines of chunks, and parts of what is longer than 16 KiB", () => {
  const splitter = new LineSplitter("stdout");
  const texts = (chunk: string) => [...splitter.push(Buffer.from(chunk))].map(({ text }) => text.toString());
  expect(texts("one\ntw")).toEqual(["one"]);
  expect(texts("o\n\nthree")).toEqual(["two", ""]);
  const long = "x".repeat(40_000);
  const parts = [...splitter.push(Buffer.from(`\n${long}\nafter\n`))];
  expect(parts.map(({ text }) => text.length)).toEqual([5, 16384, 16384, 7232, 5]);
  const { id } = parts[1]?.part ?? { id: -1 };
  expect(parts.map(({ part }) => part)).toEqual([
    undefined,
    { id, ordinal: 1, last: false },
    { id, ordinal: 2, last: false },
    { id, ordinal: 3, last: true },
    undefined,
  ]);
  expect(texts("unfinished")).toEqual([]);
  expect([...splitter.end()].map(({ text }) => text.toString())).toEqual(["unfinished"]);
});
