import { expect, test } from "bun:test";
import { AsyncQueue } from "./async-queue.ts";
import { Semaphore } from "./semaphore.ts";

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
