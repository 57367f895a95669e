import { expect, test } from "bun:test";
import { printable } from "./printable.ts";

test.each([
  ["words", "words"],
  ["a\r\nb\u0000", "a b"],
  ["\u001b[31mred\u0085\u202e", "[31mred"],
  ["größer\u200b", "größer"],
  ["x".repeat(30), `${"x".repeat(20)}…`],
])("printable(%j) is %j", (text, expected) => {
  expect(printable(text, 20)).toBe(expected);
});
