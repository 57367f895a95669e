import { expect, test } from "bun:test";
import { SharedWork } from "./shared-work.ts";

test("SharedWork does what is asked for several times at once only once, each key's apart, and then anew", async () => {
  const shared = new SharedWork<number>();
  const first = Promise.withResolvers<number>();
  let begun = 0;
  const work = (result: Promise<number>) => () => {
    begun++;
    return result;
  };
  const asked = [shared.run("a", work(first.promise)), shared.run("a", work(Promise.resolve(0)))];
  expect(await shared.run("b", work(Promise.resolve(2)))).toBe(2);
  first.resolve(1);
  expect(await Promise.all(asked)).toEqual([1, 1]);
  expect(begun).toBe(2);
  await expect(shared.run("a", work(Promise.reject(new Error("failed"))))).rejects.toThrow("failed");
  expect(await shared.run("a", work(Promise.resolve(3)))).toBe(3);
});
