import { expect, test } from "bun:test";
import { selectProcesses } from "./top-container.ts";

test("selectProcesses() keeps a process's threads with it, and the last column's blanks", () => {
  const output = [
    "UID   PID S CMD",
    "root   10 - sh -c x",
    "root    - S -",
    "root   11 - other",
    "root    - S -",
    "",
  ];
  expect(selectProcesses(output.join("\n"), new Set([10]))).toEqual({
    Titles: ["UID", "PID", "S", "CMD"],
    Processes: [
      ["root", "10", "-", "sh -c x"],
      ["root", "-", "S", "-"],
    ],
  });
  expect(() => selectProcesses("CMD\nsh\n", new Set())).toThrow("Couldn't find PID field in ps output");
});
