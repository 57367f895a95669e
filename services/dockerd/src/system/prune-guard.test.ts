import { expect, test } from "bun:test";
import { PruneGuard } from "./prune-guard.ts";

test("PruneGuard refuses a second prune of a kind, until the first has ended, however it did", async () => {
  const guard = new PruneGuard();
  const first = Promise.withResolvers<string>();
  const running = guard.run("images", () => first.promise);
  const refusal = { code: "conflict", message: "a prune operation is already running" };
  await expect(guard.run("images", async () => "second")).rejects.toMatchObject(refusal);
  expect(await guard.run("volumes", async () => "another")).toBe("another");
  first.reject(new Error("failed"));
  await expect(running).rejects.toThrow("failed");
  expect(await guard.run("images", async () => "third")).toBe("third");
});

test("PruneGuard takes containers and networks for one kind", async () => {
  const guard = new PruneGuard();
  const first = Promise.withResolvers<void>();
  const running = guard.run("networks", () => first.promise);
  await expect(guard.run("containers", async () => {})).rejects.toMatchObject({ code: "conflict" });
  first.resolve();
  await running;
  await guard.run("containers", async () => {});
});
