import { expect, test } from "bun:test";
import type { HostConfig } from "./container-config.ts";
import { logOptionsOf } from "./log-options.ts";

const parse = (Config: Record<string, string>, Type = "json-file") =>
  logOptionsOf({ LogConfig: { Type, Config } } as HostConfig);

test("logOptionsOf() reads sizes, counts and booleans as Docker does", () => {
  expect(parse({})).toEqual({});
  expect(parse({ "max-size": "10m", "max-file": "3", compress: "true" })).toEqual({
    maxSizeBytes: 10_000_000,
    maxFiles: 3,
    compress: true,
  });
  expect(parse({ "max-size": "1.5KiB", "max-file": "2", compress: "0" })).toEqual({
    maxSizeBytes: 1500,
    maxFiles: 2,
  });
  expect(parse({ "max-file": "3" })).toEqual({ maxFiles: 3 });
  expect(parse({}, "none")).toBeUndefined();
});

test.each([
  [{ compress: "true" }, "compress cannot be true when max-file is less than 2 or max-size is not set"],
  [
    { compress: "true", "max-size": "1k" },
    "compress cannot be true when max-file is less than 2 or max-size is not set",
  ],
  [
    { compress: "1", "max-file": "2" },
    "compress cannot be true when max-file is less than 2 or max-size is not set",
  ],
  [{ compress: "yes" }, 'strconv.ParseBool: parsing "yes": invalid syntax'],
  [{ "max-file": "0" }, "max-file cannot be less than 1"],
  [{ "max-file": "two" }, 'strconv.Atoi: parsing "two": invalid syntax'],
  [{ "max-size": "0" }, "max-size must be a positive number"],
  [{ "max-size": "ten" }, "invalid size: 'ten'"],
  [{ mode: "x" }, "unknown log opt 'mode' for json-file log driver"],
] as [Record<string, string>, string][])("logOptionsOf() refuses %p", (config, message) => {
  expect(() => parse(config)).toThrow(message);
});
