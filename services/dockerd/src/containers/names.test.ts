import { expect, test } from "bun:test";
import { checkName, newId, randomName } from "./names.ts";

test("checkName() takes Docker's names and takes the slash off", () => {
  expect(checkName("/web.1_a-b")).toBe("web.1_a-b");
  for (const bad of ["", "a", "-a", "a b", "a/b", "ü1", "/"]) {
    expect(() => checkName(bad)).toThrow("only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
  }
});

test("newId() makes 64 hex digits", () => {
  expect(newId()).toMatch(/^[0-9a-f]{64}$/);
  expect(newId()).not.toBe(newId());
});

test("randomName() makes valid names", () => {
  for (let attempt = 0; attempt < 50; attempt++)
    expect(checkName(randomName(attempt))).toMatch(/^[a-z]+_[a-z]+[0-9]?$/);
});
