import { expect, test } from "bun:test";
import { KeyedLock } from "./keyed-lock.ts";

test("KeyedLock lets one holder of a key at a time, in order, and other keys at once", async () => {
  const lock = new KeyedLock();
  const events: string[] = [];
  const hold = async (key: string, name: string, until: Promise<void>) => {
    using _ = await lock.acquire(key);
    events.push(`${name} in`);
    await until;
    events.push(`${name} out`);
  };
  const { promise: free, resolve } = Promise.withResolvers<void>();
  const all = [hold("a", "1", free), hold("a", "2", free), hold("b", "3", Promise.resolve())];
  await all[2];
  expect(events).toEqual(["1 in", "3 in", "3 out"]);
  resolve();
  await Promise.all(all);
  expect(events.slice(3)).toEqual(["1 out", "2 in", "2 out"]);
});
