import { expect, test } from "bun:test";
import { binarySize, humanDuration, humanSize, parseCpus, parseMemory } from "./units.ts";

const S = 1000;
const H = 3_600_000;

test.each([
  [0, "Less than a second"],
  [999, "Less than a second"],
  [S, "1 second"],
  [59 * S, "59 seconds"],
  [60 * S, "About a minute"],
  [119 * S, "About a minute"],
  [59 * 60 * S, "59 minutes"],
  [60 * 60 * S, "About an hour"],
  [89 * 60 * S, "About an hour"],
  [90 * 60 * S, "2 hours"],
  [47 * H, "47 hours"],
  [48 * H, "2 days"],
  [13 * 24 * H, "13 days"],
  [14 * 24 * H, "2 weeks"],
  [59 * 24 * H, "8 weeks"],
  [60 * 24 * H, "2 months"],
  [729 * 24 * H, "24 months"],
  [730 * 24 * H, "2 years"],
])("humanDuration(%d) is %s", (ms, text) => {
  expect(humanDuration(ms)).toBe(text);
});

test.each([
  [0, 3, "0B"],
  [999, 3, "999B"],
  [1000, 3, "1kB"],
  [1_982_000, 3, "1.98MB"],
  [12_345_678, 4, "12.35MB"],
  [999_999, 3, "1e+03kB"],
  [1_500_000_000, 4, "1.5GB"],
])("humanSize(%d, %d) is %s", (bytes, precision, text) => {
  expect(humanSize(bytes, precision)).toBe(text);
});

test("binarySize() counts in 1024s", () => {
  expect([512, 8_352_739_328].map(binarySize)).toEqual(["512B", "7.779GiB"]);
});

test.each([
  ["0", 0],
  ["512", 512],
  ["64k", 65536],
  ["64KB", 65536],
  ["64KiB", 65536],
  ["1.5g", 1.5 * 1024 ** 3],
  ["512m", 512 << 20],
  ["10b", 10],
])("parseMemory(%s) is %d", (text, bytes) => {
  expect(parseMemory(text)).toBe(bytes);
});

test.each([
  ["1x", "invalid suffix: 'x'"],
  ["abc", "invalid size: 'abc'"],
  ["-1", "invalid size: '-1'"],
  ["", "invalid size: ''"],
  ["1.2.3", "invalid size: '1.2.3'"],
])("parseMemory(%j) is refused", (text, message) => {
  expect(() => parseMemory(text)).toThrow(message);
});

test("parseCpus() keeps billionths and refuses finer ones", () => {
  expect(["1", ".5", "0.000000001", "1.500000000000"].map(parseCpus)).toEqual([1e9, 5e8, 1, 1.5e9]);
  expect(() => parseCpus("1.0000000001")).toThrow("value is too precise");
  expect(() => parseCpus("abc")).toThrow("failed to parse abc as a rational number");
});
