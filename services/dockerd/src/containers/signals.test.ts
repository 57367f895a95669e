import { expect, test } from "bun:test";
import { parseSignal, stopSignalOf } from "./signals.ts";

test("parseSignal() takes names with and without SIG, numbers and real-time signals", () => {
  expect(parseSignal("SIGTERM")).toBe(15);
  expect(parseSignal("kill")).toBe(9);
  expect(parseSignal("10")).toBe(10);
  expect(["RTMIN+3", "SIGRTMAX-1", "rtmin", "RTMAX"].map(parseSignal)).toEqual([37, 63, 34, 64]);
  for (const bad of ["0", "65", "NOPE", "", "RTMIN+31", "RTMIN-1", "RTMAX+1", "RTMAX-31", "RTMIN+", " 9"])
    expect(() => parseSignal(bad)).toThrow("invalid signal");
});

test("stopSignalOf() answers SIGTERM for a name that is not a signal", () => {
  const numberOf = (StopSignal: string) => stopSignalOf({ StopSignal });
  const unknown = ["", "NOTASIGNAL", "0", "65", "-1", "SIGRTMIN+99"];
  expect(unknown.map(numberOf)).toEqual(unknown.map(() => 15));
  expect(["SIGINT", "9"].map(numberOf)).toEqual([2, 9]);
});
