import { expect, test } from "bun:test";
import { AsyncQueue } from "./async-queue.ts";
import { Semaphore, tryAcquireAll } from "./semaphore.ts";

test("Semaphore lets the next in when a holder leaves, and forgets who gave up", async () => {
  const semaphore = new Semaphore(1);
  const never = new AbortController().signal;
  const first = await semaphore.acquire(never);
  const impatient = new AbortController();
  const gaveUp = semaphore.acquire(impatient.signal);
  const second = semaphore.acquire(never);
  impatient.abort(new Error("no patience"));
  await expect(gaveUp).rejects.toThrow("no patience");
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  const holder = await second;
  const third = semaphore.acquire(never);
  expect(await Promise.race([third, Promise.resolve("waits")])).toBe("waits");
  holder[Symbol.dispose]();
  await third;
});

test("AsyncQueue gives what was pushed before it ends or fails", async () => {
  const queue = new AsyncQueue<number>();
  queue.push(1);
  queue.push(2);
  queue.end(new Error("over"));
  queue.push(3);
  const seen: number[] = [];
  const read = async () => {
    for await (const item of queue) seen.push(item);
  };
  await expect(read()).rejects.toThrow("over");
  expect(seen).toEqual([1, 2]);
});

test("tryAcquireAll() holds all of them or none, and gives back all", () => {
  const [many, one] = [new Semaphore(5), new Semaphore(1)];
  const held = tryAcquireAll([many, one]);
  expect(held).toBeDefined();
  expect(tryAcquireAll([many, one])).toBeUndefined();
  // The one before gave back what it had of the first.
  const rest = Array.from({ length: 5 }, () => many.tryAcquire());
  expect(rest.map((slot) => slot !== undefined)).toEqual([true, true, true, true, false]);
  held?.[Symbol.dispose]();
  held?.[Symbol.dispose]();
  expect(tryAcquireAll([many, one])).toBeDefined();
  expect(tryAcquireAll([many])).toBeUndefined();
});
