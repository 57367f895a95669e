import { expect, test } from "bun:test";
import fc from "fast-check";
import { escapeHtml, indentJson } from "./indent-json.ts";

test("indentJson() leaves numbers, escapes, the order of keys and empty things as they are", () => {
  expect(indentJson('{"2":1.0, "1":[ ],"a":{ },"b":["\\u003c\\"{",12345678901234567890]}', "\t")).toBe(
    '{\n\t"2": 1.0,\n\t"1": [],\n\t"a": {},\n\t"b": [\n\t\t"\\u003c\\"{",\n\t\t12345678901234567890\n\t]\n}',
  );
});

test("indentJson() writes what JSON.stringify() does", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(indentJson(JSON.stringify(value), "   ")).toBe(JSON.stringify(value, null, "   "));
    }),
  );
});

test("escapeHtml() writes what might be HTML as Go does", () => {
  expect(escapeHtml('"<a>&"')).toBe('"\\u003ca\\u003e\\u0026"');
});
