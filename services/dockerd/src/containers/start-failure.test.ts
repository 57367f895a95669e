import { expect, test } from "bun:test";
import { EngineError } from "@longshore/errors";
import { byRuntime, explainStartFailure, startFailure } from "./start-failure.ts";

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

test("startFailure() knows a command that is missing from the runtime alone, and keeps an exit code otherwise", async () => {
  const error = new EngineError("internal", "/dev/nosuch: no such file or directory");
  expect(startFailure(error, 0)).toMatchObject({ exitCode: 128, failure: { code: "internal" } });
  expect(startFailure(error, 3).exitCode).toBe(3);
  const gone = new EngineError("not_found", "network a not found");
  expect(startFailure(gone, 0)).toMatchObject({ exitCode: 128, failure: { code: "not_found" } });
  const thrown: unknown = await byRuntime(Promise.reject(error)).catch((cause: unknown) => cause);
  expect(startFailure(thrown, 3)).toMatchObject({ exitCode: 127, failure: { code: "invalid_argument" } });
  // What is undone may fail as well.
  expect(startFailure(new SuppressedError(new Error("undo"), thrown, ""), 0).exitCode).toBe(127);
});
