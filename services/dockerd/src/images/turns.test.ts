import { expect, test } from "bun:test";
import { Turns } from "./turns.ts";

test("Turns.take() lets so many in at once, then always the one with the lowest number", async () => {
  const turns = new Turns(2);
  const order: number[] = [];
  const [one, two] = [await turns.take(8), await turns.take(9)];
  const later = [5, 3, 4].map(async (number) => {
    using _ = await turns.take(number);
    order.push(number);
    await Promise.resolve();
  });
  await Promise.resolve();
  expect(order).toEqual([]);
  one[Symbol.dispose]();
  await Promise.all(later);
  expect(order).toEqual([3, 4, 5]);
  two[Symbol.dispose]();
  const both = [await turns.take(1), await turns.take(2)];
  expect(both).toHaveLength(2);
});
