import { expect, test } from "bun:test";
import { EngineError } from "@longshore/errors";
import { explainStartFailure } from "./start-failure.ts";

const explain = (text: string) => explainStartFailure(new EngineError("unknown", text));

test("explainStartFailure() knows commands that are missing or can't be run", () => {
  expect(explain('exec: "nope": executable file not found in $PATH').exitCode).toBe(127);
  expect(explain('exec: "/nope": stat /nope: no such file or directory').exitCode).toBe(127);
  expect(explain('exec: "/etc/passwd": permission denied').exitCode).toBe(126);
  expect(explain("boom").exitCode).toBe(128);
});

test("explainStartFailure() adds the words that clients look for", () => {
  const { exitCode, failure } = explain('exec: "/etc": is a directory');
  expect(exitCode).toBe(126);
  expect(failure.message).toEndWith(": permission denied");
  expect(failure.code).toBe("invalid_argument");
});
