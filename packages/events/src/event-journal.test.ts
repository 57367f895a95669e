import { afterAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { EventJournal } from "./event-journal.ts";

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-journal-"));
afterAll(() => fs.rmSync(dir, { recursive: true }));

const event = (id: number) => ({ subject: "s", id: String(id), payload: "x".repeat(50) });
const fail = (error: unknown) => {
  throw error;
};
function open(name: string, limitBytes: number) {
  const directory = path.join(dir, name);
  fs.mkdirSync(directory, { recursive: true });
  return { directory, journal: new EventJournal({ directory, limitBytes, onTrouble: fail }) };
}

test("EventJournal keeps the newest events, in order, within its limit", async () => {
  const { directory, journal } = open("limit", 10_000);
  for (let id = 0; id < 1000; id++) journal.append(event(id));
  const kept = journal.read().map(({ id }) => Number(id));
  expect(kept.length).toBeGreaterThan(50);
  expect(kept).toEqual(Array.from({ length: kept.length }, (_, index) => 1000 - kept.length + index));
  await journal[Symbol.asyncDispose]();
  const size = fs.readdirSync(directory).reduce((sum, n) => sum + fs.statSync(`${directory}/${n}`).size, 0);
  expect(size).toBeLessThan(10_200);
});

test("a line that a crash tore takes no other with it", async () => {
  const { directory, journal } = open("torn", 10_000);
  journal.append(event(1));
  await journal[Symbol.asyncDispose]();
  fs.appendFileSync(`${directory}/journal`, '{"subject":"s","id":"2","pa');
  const { journal: next } = open("torn", 10_000);
  next.append(event(3));
  expect(next.read().map(({ id }) => id)).toEqual(["1", "3"]);
  await next[Symbol.asyncDispose]();
});
