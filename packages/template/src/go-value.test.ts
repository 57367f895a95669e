import { expect, test } from "bun:test";
import { type GoType, goValue } from "./go-value.ts";
import { renderDecoded, renderTyped } from "./render-template.ts";

const type: GoType = {
  struct: {
    ID: ["Id", "string"],
    Size: "int",
    On: "bool",
    At: "time",
    Every: "duration",
    List: { slice: { struct: { A: "string", B: "int" } } },
    Labels: { map: "string" },
    Limit: { pointer: "int" },
    Inner: { pointer: { struct: { Name: "string" } } },
  },
};
const full = {
  Id: "x",
  Size: 3,
  On: true,
  At: "2026-01-02T03:04:05.600Z",
  Every: 5_400_000_000_000,
  List: [{ A: "a", B: 1 }],
  Labels: { b: "2", a: "1" },
  Limit: 7,
  Inner: { Name: "n" },
};

test.each([
  ["{{.ID}} {{.Size}} {{.On}} {{.Limit}} {{.Inner.Name}}", "x 3 true 7 n", " 0 false <nil> n"],
  ["{{.List}} {{.Labels}} {{.Labels.nope}}", "[{a 1}] map[a:1 b:2] <no value>", "[] map[] <no value>"],
  ['{{index .Labels "a"}}|{{index .Labels "nope"}}', "1|", "|"],
  ["{{json .List}} {{json .Labels}}", '[{"A":"a","B":1}] {"b":"2","a":"1"}', "null null"],
  ["{{json .At}} {{json .Every}} {{json .Limit}}", '"2026-01-02T03:04:05.6Z" 5400000000000 7', "-"],
  ["{{.At}} {{.Every}}", "2026-01-02 03:04:05.6 +0000 UTC 1h30m0s", "0001-01-01 00:00:00 +0000 UTC 0s"],
  ["{{if .Inner}}y{{else}}n{{end}} {{len .List}}", "y 1", "n 0"],
  ["{{range .List}}{{.B}}{{end}}{{range $k, $v := .Labels}}{{$k}}{{$v}}{{end}}", "1a1b2", ""],
])("renderDecoded(%j) finds zero values where JSON has none", (template, ofFull, ofEmpty) => {
  expect(renderDecoded(template, full, type)).toBe(ofFull);
  const empty = template.includes(".Inner.Name") ? { Inner: full.Inner } : {};
  if (ofEmpty !== "-") expect(renderDecoded(template, empty, type)).toBe(ofEmpty);
});

test("renderDecoded() takes the JSON itself for all of a template that asks for what the type has not", () => {
  expect(renderDecoded("{{.Id}} {{.New}} {{.Labels}}", { ...full, New: 1, Labels: null }, type)).toBe(
    "x 1 <no value>",
  );
  for (const [template, words] of [
    ["{{.Nope}}", 'at <.Nope>: map has no entry for key "Nope"'],
    ["{{.Inner.Name}}", 'at <.Inner.Name>: map has no entry for key "Inner"'],
    ["{{index .Inner 1}}", 'map has no entry for key "Inner"'],
  ] as const)
    expect(() => renderDecoded(template, {}, type)).toThrow(words);
});

test.each([
  ["{{.Nope}}", "at <.Nope>: can't evaluate field Nope in type pkg.Whole"],
  ["{{.ID.Nope}}", "can't evaluate field Nope in type string"],
  ["{{.List.A}}", "can't evaluate field A in type []pkg.Item"],
  ["{{.Inner.Nope}}", "can't evaluate field Nope in type *pkg.Inner"],
  ["{{.None.Name}}", "nil pointer evaluating *pkg.Inner.Name"],
  ["{{.None.Nope}}", "can't evaluate field Nope in type *pkg.Inner"],
  ["{{range .Inner}}{{end}}", "at <.Inner>: range can't iterate over {n}"],
  ["{{index .Inner 0}}", "error calling index: can't index item of type pkg.Inner"],
  ["{{index .None 0}}", "error calling index: index of nil pointer"],
  ["{{len .Inner}}", "error calling len: len of type pkg.Inner"],
])("renderTyped(%j) says which type has it not", (template, words) => {
  const inner: GoType = { pointer: { struct: { Name: "string" }, name: "pkg.Inner" } };
  const whole: GoType = {
    struct: {
      ID: "string",
      List: { slice: { struct: { A: "string" }, name: "pkg.Item" } },
      Inner: inner,
      None: inner,
    },
    name: "pkg.Whole",
  };
  const json = { ID: "x", List: [], Inner: { Name: "n" }, Nope: "in the JSON alone" };
  expect(() => renderTyped(template, json, whole)).toThrow(words);
});

test("an embedded struct is shown as one, and its fields are those of the whole as well", () => {
  const inner: GoType = { struct: { A: "string", B: "int" }, embedded: true };
  const whole: GoType = { struct: { On: "bool", Inner: inner } };
  expect(renderTyped("{{.}} {{.A}} {{.Inner.B}}", { On: true, A: "a" }, whole)).toBe("{true {a 0}} a 0");
});

test.each([
  [1, "1ns"],
  [1500, "1.5µs"],
  [20_000_000, "20ms"],
  [1_500_000_000, "1.5s"],
  [60_000_000_000, "1m0s"],
  [-3_600_000_000_000, "-1h0m0s"],
])("a duration of %d is %s", (nanoseconds, text) => {
  expect(String(goValue(nanoseconds, "duration"))).toBe(text);
});

test("a map whose keys are of their own type is not looked into by a text, but goes through as others do", () => {
  const ports: GoType = { struct: { Ports: { map: { slice: "string" }, named: true } } };
  const json = { Ports: { "80/tcp": ["a"] } };
  expect(renderDecoded("{{.Ports}}{{range $k, $v := .Ports}}{{$k}}{{end}}", json, ports)).toBe(
    "map[80/tcp:[a]]80/tcp",
  );
  // Which therefore is of the JSON.
  expect(renderDecoded('{{index .Ports "80/tcp"}}{{index .Ports "9/tcp"}}', json, ports)).toBe(
    "[a]<no value>",
  );
});
