import { expect, test } from "bun:test";
import { EngineError, errorCode, toEngineError } from "./engine-error.ts";

test("toEngineError() names what went wrong, not what went wrong in undoing it", () => {
  const fail = () => {
    using undo = new DisposableStack();
    undo.defer(() => {
      throw new Error("the undo");
    });
    undo.defer(() => {
      throw new Error("another undo");
    });
    throw new EngineError("resource_exhausted", "no space left on device");
  };
  let thrown: unknown;
  try {
    fail();
  } catch (error) {
    thrown = error;
  }
  expect(thrown).not.toBeInstanceOf(EngineError);
  expect(errorCode(thrown)).toBe("resource_exhausted");
  expect(toEngineError(thrown).message).toBe("no space left on device");
});
