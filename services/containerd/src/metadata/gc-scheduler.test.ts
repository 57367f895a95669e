import { afterEach, expect, test } from "bun:test";
import type { Logger } from "@longshore/log";
import { eventually } from "@longshore/testkit";
import { DEFAULT_GC_SCHEDULE, type GcSchedule, GcScheduler } from "./gc-scheduler.ts";

const log = { error() {} } as unknown as Logger;
let scheduler: GcScheduler<number> | undefined;
let collections = 0;
let failing = false;
let lastsMs = 0;
afterEach(async () => {
  await scheduler?.[Symbol.asyncDispose]();
  failing = false;
  lastsMs = 0;
});

function start(schedule: Partial<GcSchedule>): GcScheduler<number> {
  collections = 0;
  scheduler = new GcScheduler({
    schedule: { ...DEFAULT_GC_SCHEDULE, startupDelayMs: 0, ...schedule },
    log,
    async collect() {
      await Bun.sleep(lastsMs);
      collections++;
      if (failing) throw new Error("failing");
      return collections;
    },
  });
  return scheduler;
}

/** Milliseconds until so many collections have ended. */
async function timeUntil(count: number): Promise<number> {
  const began = performance.now();
  await eventually(() => collections >= count, { what: `${count} collections` });
  return performance.now() - began;
}

test("the first collection is a while after the start", async () => {
  start({ startupDelayMs: 50 });
  expect(collections).toBe(0);
  expect(await timeUntil(1)).toBeLessThan(2000);
});

test("deletions are collected together, after a pause", async () => {
  const gc = start({ pauseThreshold: 0.05 });
  await gc.trigger();
  for (let i = 0; i < 5; i++) gc.changed({ deleted: true });
  expect(await timeUntil(2)).toBeGreaterThan(80);
  await gc.trigger();
  expect(collections).toBe(3);
});

test("deletions that go on don't put it off for ever", async () => {
  const gc = start({ pauseThreshold: 0.05 });
  await gc.trigger();
  const deleting = setInterval(() => gc.changed({ deleted: true }), 5);
  await timeUntil(3);
  clearInterval(deleting);
});

test("the pause is the longer, the longer collections take", async () => {
  const gc = start({ pauseThreshold: 0.1 });
  lastsMs = 40;
  await gc.trigger();
  gc.changed({ deleted: true });
  expect(await timeUntil(2)).toBeGreaterThan(300);
});

test("deletion_threshold deletions don't wait for the pause", async () => {
  const gc = start({ pauseThreshold: 0, deletionThreshold: 3 });
  gc.changed({ deleted: true });
  gc.changed({ deleted: true });
  await Bun.sleep(100);
  expect(collections).toBe(0);
  gc.changed({ deleted: true });
  expect(await timeUntil(1)).toBeLessThan(500);
});

test("mutation_threshold changes bring about a collection, fewer don't", async () => {
  const gc = start({ pauseThreshold: 0.5, mutationThreshold: 3 });
  await gc.trigger();
  gc.changed({ deleted: false });
  gc.changed({ deleted: false });
  await Bun.sleep(100);
  expect(collections).toBe(1);
  gc.changed({ deleted: false });
  await timeUntil(2);
});

test("whoever waits gets what was collected after he asked, once schedule_delay is over", async () => {
  const gc = start({ scheduleDelayMs: 80 });
  const began = performance.now();
  expect(await Promise.all([gc.trigger(), gc.trigger()])).toEqual([1, 1]);
  expect(performance.now() - began).toBeGreaterThan(70);
  lastsMs = 50;
  const first = gc.trigger();
  await Bun.sleep(100);
  expect(await gc.trigger()).toBe(3);
  expect(await first).toBe(2);
});

test("one that fails tells who waits, and is tried again", async () => {
  const gc = start({ pauseThreshold: 0.5 });
  failing = true;
  // Not `expect().rejects`: that blocks the loop.
  expect(await gc.trigger().catch((error: Error) => error.message)).toBe("failing");
  failing = false;
  await timeUntil(2);
});
