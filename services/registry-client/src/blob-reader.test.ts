import { expect, test } from "bun:test";
import { EngineError } from "@longshore/errors";
import { type OpenBlob, readBlob } from "./blob-reader.ts";

const SLOW = { partBytes: 4, parts: 2, watchMs: 0, bytesPerSecond: Number.POSITIVE_INFINITY };

test.each([
  [undefined, 3],
  [50, 3],
  [2, 2],
  [1, 1],
])("readBlob() asks for a range, where a caller has %p attempts, %p times", async (attempts, expected) => {
  const asked: number[] = [];
  const open: OpenBlob = async ({ offset, end }) => {
    asked.push(offset);
    if (end !== undefined) throw new EngineError("unavailable", "broken");
    async function* body() {
      yield Buffer.from("abcd");
    }
    return { start: 0, ranges: true, body: body() };
  };
  const { signal } = new AbortController();
  const read = async () => {
    for await (const _ of readBlob(
      open,
      { offset: 0, size: 100, extra: () => undefined, attempts, signal },
      SLOW,
    ));
  };
  await expect(read()).rejects.toThrow("broken");
  expect(asked).toEqual([0, ...Array.from({ length: expected }, () => 4)]);
});
