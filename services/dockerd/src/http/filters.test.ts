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

test("checkValues() says which values there are", () => {
  const filters = Filters.parse('{"health":["none","ill"],"kind":["x"]}', ["health", "kind"]);
  filters.checkValues("kind", ["x", "y"]);
  expect(() => filters.checkValues("kind", ["y"])).toThrow(/^invalid filter 'kind=x'$/);
  expect(() => filters.checkValues("health", ["none", "healthy"], "health")).toThrow(
    /^invalid filter 'health=ill': invalid value for health \(ill\): must be one of none, healthy$/,
  );
});

test("matchLabels() wants every label, by key or by key and value", () => {
  const filters = Filters.parse('{"label":["a","b=2"]}', ["label"]);
  expect(filters.matchLabels({ a: "1", b: "2" })).toBe(true);
  expect(filters.matchLabels({ a: "1", b: "3" })).toBe(false);
  expect(filters.matchLabels({ b: "2" })).toBe(false);
});

test("boolean() takes one truth in Docker's two spellings; until() takes one time", () => {
  const of = (text: string) => Filters.parse(text, ["dangling", "until"]);
  const cases: [string, boolean | undefined | string][] = [
    ["{}", undefined],
    ['{"dangling":["1"]}', true],
    ['{"dangling":{"true":true}}', true],
    ['{"dangling":["0","false"]}', false],
    ['{"dangling":["true","false"]}', "invalid filter 'dangling=[true false]'"],
    ['{"dangling":["True"]}', "invalid filter 'dangling=[True]'"],
    ['{"dangling":[]}', "invalid filter 'dangling'"],
  ];
  for (const [text, wanted] of cases) {
    if (typeof wanted === "string") expect(() => of(text).boolean("dangling")).toThrow(wanted);
    else expect(of(text).boolean("dangling")).toBe(wanted);
  }
  expect(of("{}").until()).toBeUndefined();
  expect(of('{"until":["5"]}').until()).toBe(5_000_000_000n);
  expect(() => of('{"until":["5","6"]}').until()).toThrow("more than one until filter specified");
});

test("matchPattern() takes names and regular expressions; what is neither fits nothing", () => {
  const fits = (pattern: string) =>
    Filters.parse(JSON.stringify({ name: [pattern] }), ["name"]).matchPattern("name", "a.net-1");
  expect(["a.net-1", "net", "^a", "1$", "^a.net-\\d$"].filter((pattern) => !fits(pattern))).toEqual([]);
  expect(["^net", "[", "b", "*"].filter(fits)).toEqual([]);
});

test("lacksLabels() wants none of the labels that are not to be there", () => {
  const filters = Filters.parse('{"label!":["a","b=1"]}', undefined);
  expect(filters.lacksLabels({ b: "2" })).toBe(true);
  expect(filters.lacksLabels({ b: "1" })).toBe(false);
  expect(filters.lacksLabels({ a: "" })).toBe(false);
  expect(Filters.none.lacksLabels({ a: "" })).toBe(true);
});
