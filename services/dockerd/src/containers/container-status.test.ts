import { expect, test } from "bun:test";
import { isRunning, nextStatus, requireRunning } from "./container-status.ts";

test("nextStatus() leads through a container's life", () => {
  expect(nextStatus("created", "start")).toBe("running");
  expect(nextStatus("running", "pause")).toBe("paused");
  expect(nextStatus("paused", "exit")).toBe("exited");
  expect(nextStatus("exited", "start")).toBe("running");
  expect(nextStatus("exited", "remove")).toBe("removing");
  expect(nextStatus("removing", "removeFailed")).toBe("dead");
  expect(nextStatus("dead", "remove")).toBe("removing");
});

test("nextStatus() refuses what makes no sense", () => {
  expect(() => nextStatus("created", "pause")).toThrow("cannot pause a container that is created");
  expect(() => nextStatus("running", "remove")).toThrow("cannot remove a container that is running");
  expect(() => nextStatus("dead", "start")).toThrow();
});

test("a paused container counts as running", () => {
  expect(isRunning("paused")).toBe(true);
  expect(() => requireRunning("abc", "exited")).toThrow("container abc is not running");
});
