import { expect, test } from "bun:test";
import { formatTable } from "./table.ts";
import { ellipsis, goQuote, goTime, shortId } from "./text.ts";

test("goQuote() writes what strconv.Quote does", () => {
  expect(goQuote(`sh -c 'a "b"' \\`)).toBe(`"sh -c 'a \\"b\\"' \\\\"`);
  expect(goQuote("a\tb\n\u0001\u007f")).toBe('"a\\tb\\n\\x01\\x7f"');
  expect(goQuote("é…日 \u200b\u00a0")).toBe('"é…日 \\u200b\\u00a0"');
});

test("ellipsis() counts characters, with the dots among them", () => {
  expect(ellipsis("12345", 5)).toBe("12345");
  expect(ellipsis("123456", 5)).toBe("1234…");
  expect(ellipsis("日本語日本語", 4)).toBe("日本語…");
});

test("shortId() leaves the algorithm out", () => {
  expect(shortId(`sha256:${"ab".repeat(32)}`)).toBe("abababababab");
  expect(shortId("0123456789abcdef")).toBe("0123456789ab");
});

test("goTime() prints local time with its zone", () => {
  expect(goTime(Date.UTC(2026, 10, 3, 4, 5, 6) / 1000)).toMatch(/^2026-11-0[2-4] \d\d:05:06 [+-]\d{4} \S+$/);
});

test("formatTable() keeps columns three apart and ten wide, and never pads the last", () => {
  expect(
    formatTable([
      ["ID", "A LONG HEADER", "NAMES"],
      ["0123456789ab", "x", "n"],
    ]),
  ).toBe("ID             A LONG HEADER   NAMES\n0123456789ab   x               n\n");
  expect(formatTable([["A", "B"]])).toBe("A         B\n");
});
