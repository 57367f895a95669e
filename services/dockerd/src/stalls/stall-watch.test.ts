import { afterEach, beforeEach, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { createLogger } from "@longshore/log";
import { eventually, type TempDir, tempDir } from "@longshore/testkit";
import { type StallCause, StallWatch } from "./stall-watch.ts";
import { OwnThreadTimes } from "./thread-times.ts";

let watch: StallWatch;
let stalls: { cause: StallCause; seconds: number }[];
let messages: Record<string, unknown>[];

function open(times?: OwnThreadTimes): void {
  stalls = [];
  messages = [];
  const stream = { write: (line: string) => messages.push(JSON.parse(line) as Record<string, unknown>) };
  const log = createLogger("test", { stream });
  watch = new StallWatch({ log, onStall: (cause, seconds) => stalls.push({ cause, seconds }) }, times);
}

function compute(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

function block(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

const stall = () => eventually(() => stalls.length > 0, { what: "the stall is noticed" });

beforeEach(() => open());
afterEach(() => watch[Symbol.dispose]());

test("StallWatch tells of computing, with the operations that were under way", async () => {
  watch.begin(() => "GET /earlier");
  const ended = watch.begin(() => `GET /${"long/".repeat(1000)}`);
  compute(200);
  ended();
  await stall();
  expect(stalls[0]?.cause).toBe("computing");
  expect(stalls[0]?.seconds).toBeWithin(0.15, 2);
  expect(messages[0]).toMatchObject({ msg: "the event loop stood still", cause: "computing" });
  expect(messages[0]?.during).toEqual([expect.stringMatching(/^GET \/long.{191}$/), "GET /earlier"]);
});

test("StallWatch tells of system calls that wait", async () => {
  watch.begin(() => "POST /waiting")();
  block(200);
  await stall();
  expect(stalls[0]?.cause).toBe("waiting");
  expect(messages[0]?.during).toEqual(["POST /waiting"]);
});

test("StallWatch notices work that nobody has told of, and counts what it has no message for", async () => {
  await eventually(
    () => {
      compute(200);
      return stalls.length > 2;
    },
    { timeoutMs: 20_000, what: "three stalls" },
  );
  expect(messages.length).toBeLessThan(stalls.length);
  await eventually(
    () => {
      compute(200);
      return messages.length > 1;
    },
    { timeoutMs: 20_000, what: "a further message" },
  );
  expect(messages[1]?.untold).toBeGreaterThan(0);
});

test("StallWatch tells apart that others had the processors; without times of the thread it still tells", async () => {
  using dir: TempDir = tempDir();
  const file = path.join(dir.path, "schedstat");
  fs.writeFileSync(file, "1000000 2000000 3\n");
  watch[Symbol.dispose]();
  open(new OwnThreadTimes(file));
  watch.begin(() => "GET /");
  fs.writeFileSync(file, "3000000 199000000 5\n");
  block(200);
  await stall();
  expect(stalls[0]?.cause).toBe("starved");
  expect(messages[0]?.spent).toMatchObject({ computing: 2, starved: 197 });
  watch[Symbol.dispose]();
  open(new OwnThreadTimes(path.join(dir.path, "missing")));
  watch.begin(() => "GET /");
  compute(200);
  await stall();
  expect(stalls[0]?.seconds).toBeWithin(0.15, 2);
});

test("StallWatch is silent while the daemon works in small turns", async () => {
  const ended = watch.begin(() => "GET /events");
  for (let turn = 0; turn < 40; turn += 1) {
    compute(5);
    await new Promise((resolve) => setImmediate(resolve));
  }
  ended();
  expect(stalls.filter(({ cause }) => cause !== "starved")).toEqual([]);
});
