import { expect, test } from "bun:test";
import { nextStatus, type ProcessMove, type ProcessStatus } from "./process-status.ts";

const STATUSES: ProcessStatus[] = ["created", "running", "paused", "stopped", "deleted"];
const MOVES: ProcessMove[] = ["start", "pause", "resume", "exit", "delete"];

function graph(kind: "init" | "exec"): string[] {
  return STATUSES.flatMap((from) =>
    MOVES.flatMap((move) => {
      try {
        return [`${from} ${move} ${nextStatus(kind, from, move)}`];
      } catch {
        return [];
      }
    }),
  );
}

test("nextStatus() allows an init process the original's moves and no others", () => {
  expect(graph("init")).toEqual([
    "created start running",
    "created exit stopped",
    "created delete deleted",
    "running pause paused",
    "running exit stopped",
    "paused resume running",
    "paused exit stopped",
    "stopped delete deleted",
  ]);
});

test("nextStatus() never pauses an exec process", () => {
  expect(graph("exec")).toEqual([
    "created start running",
    "created exit stopped",
    "created delete deleted",
    "running exit stopped",
    "stopped delete deleted",
  ]);
});

test("nextStatus() refuses as failed_precondition and names the state", () => {
  expect(() => nextStatus("init", "running", "delete")).toThrow("cannot delete a running process");
  expect(() => nextStatus("init", "stopped", "pause")).toThrow("cannot pause a stopped container");
});
