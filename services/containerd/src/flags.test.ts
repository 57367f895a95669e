import { expect, test } from "bun:test";
import { parseCommandLine, parseLogLevel } from "./flags.ts";

test("parseCommandLine() takes flags in every spelling of the original, and words between them", () => {
  const { flags, args } = parseCommandLine([
    ...["-a", "/x.sock", "--root=/r", "-state", "/s", "config", "-l=debug", "dump"],
  ]);
  expect([...flags]).toEqual([
    ["address", "/x.sock"],
    ["root", "/r"],
    ["state", "/s"],
    ["log-level", "debug"],
  ]);
  expect(args).toEqual(["config", "dump"]);
});

test("parseCommandLine() refuses unknown flags and missing values by name", () => {
  expect(() => parseCommandLine(["--bogus"])).toThrow("flag provided but not defined: -bogus");
  expect(() => parseCommandLine(["--root"])).toThrow("flag needs an argument: -root");
});

test("parseLogLevel() refuses what is no level", () => {
  expect(parseLogLevel("WARN")).toBe("warn");
  expect(() => parseLogLevel("loud")).toThrow('not a valid logrus Level: "loud"');
});
