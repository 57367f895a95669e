import { expect, test } from "bun:test";
import { Container, type ContainerRecord } from "./container.ts";
import { waitContainer } from "./wait-container.ts";

const container = (status: string) =>
  new Container({ id: "1", state: { status, exitCode: 3 } } as unknown as ContainerRecord);

test("waitContainer() tells who waits for a removal that it has failed", async () => {
  const dead = container("exited");
  const removed = waitContainer(dead, "removed", new AbortController().signal);
  dead.tellNotRemoved("the disk is gone");
  expect(await removed).toEqual({ exitCode: 3, error: "the disk is gone" });
});

test("waitContainer() answers at once for what doesn't run, and waits for the next exit if asked", async () => {
  const over = container("exited");
  const stop = new AbortController();
  expect(await waitContainer(over, "not-running", stop.signal)).toEqual({ exitCode: 3 });
  const next = waitContainer(over, "next-exit", stop.signal);
  over.tellExit();
  expect(await next).toEqual({ exitCode: 3 });
  const given = waitContainer(over, "next-exit", stop.signal);
  stop.abort(new Error("gone"));
  expect(given).rejects.toThrow("gone");
  expect(over.exitWaiters.size).toBe(0);
});
