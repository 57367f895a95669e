import { expect, test } from "bun:test";
import { Filters } from "./filters.ts";

test("Filters.parse() reads both forms", () => {
  const allowed = ["status", "label"];
  for (const text of ['{"status":["exited","created"]}', '{"status":{"exited":true,"created":false}}']) {
    expect(Filters.parse(text, allowed).get("status")).toEqual(["exited", "created"]);
  }
});

test("Filters.parse() takes null for none", () => {
  expect(Filters.parse("null", []).has("status")).toBe(false);
  expect(Filters.parse('{"status":null}', ["status"]).has("status")).toBe(false);
});

test("Filters.parse() refuses unknown keys and what is no filter", () => {
  expect(() => Filters.parse('{"nope":["x"]}', ["status"])).toThrow("invalid filter 'nope'");
  expect(() => Filters.parse("[1]", ["status"])).toThrow("invalid filter");
  expect(() => Filters.parse("{", ["status"])).toThrow("invalid filter");
  expect(() => Filters.parse('{"status":"exited"}', ["status"])).toThrow("invalid filter");
  expect(() => Filters.parse('{"status":{"exited":1}}', ["status"])).toThrow("invalid filter");
});

test("matchLabels() wants every label, by key or by key and value", () => {
  const filters = Filters.parse('{"label":["a","b=2"]}', ["label"]);
  expect(filters.matchLabels({ a: "1", b: "2" })).toBe(true);
  expect(filters.matchLabels({ a: "1", b: "3" })).toBe(false);
  expect(filters.matchLabels({ b: "2" })).toBe(false);
});
