import { expect, test } from "bun:test";
import { within } from "./kill-container.ts";

test("within() waits for weeks, where a timer would end at once", async () => {
  const work = Promise.withResolvers<void>();
  const waited = within(work.promise, 40 * 24 * 3600 * 1000);
  // A timer that has taken its time for none ends before this one.
  expect(await Promise.race([waited, Bun.sleep(50).then(() => "waits")])).toBe("waits");
  work.resolve();
  expect(await waited).toBe(true);
  expect(await within(new Promise(() => {}), 1)).toBe(false);
});
