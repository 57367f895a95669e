import { expect, test } from "bun:test";
import { parseSignal } from "./signals.ts";

test("parseSignal() takes names with and without SIG, numbers and real-time signals", () => {
  expect(parseSignal("SIGTERM")).toBe(15);
  expect(parseSignal("kill")).toBe(9);
  expect(parseSignal("10")).toBe(10);
  expect(parseSignal("RTMIN+3")).toBe(37);
  for (const bad of ["0", "65", "NOPE", ""]) expect(() => parseSignal(bad)).toThrow("invalid signal");
});
