import { describe, expect, test } from "bun:test";
import { renderTemplate } from "./render-template.ts";

const data = {
  Name: "/web",
  State: { Running: true, Pid: 7, Nothing: null },
  List: ["a", "b"],
  Empty: [],
  Labels: { b: "2", a: "1", "x.y": "3" },
  Label: (name: string) => `<${name}>`,
  Ports: { "80/tcp": [{ HostPort: "8080" }] },
};

test.each<[string, string]>([
  ["plain", "plain"],
  ["{{.Name}}", "/web"],
  ["{{ .State.Running }}-{{.State.Pid}}", "true-7"],
  ["{{.List}} {{.Labels}} {{.State.Nothing}}", "[a b] map[a:1 b:2 x.y:3] <no value>"],
  ["{{json .List}} {{json .State.Nothing}}", '["a","b"] null'],
  ['{{join .List ", "}} {{len .List}} {{upper .Name}}', "a, b 2 /WEB"],
  ['{{index .List 1}} {{index .Labels "x.y"}}', "b 3"],
  ['{{(index (index .Ports "80/tcp") 0).HostPort}}', "8080"],
  ['{{index .Labels "none"}}|{{index .State "none"}}', "|<no value>"],
  ['{{.Label "a"}} {{"b" | .Label}} {{len (.Label "cd")}}', "<a> <b> 4"],
  ["{{range .List}}<{{.}}>{{end}}", "<a><b>"],
  ["{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "a=1;b=2;x.y=3;"],
  ["{{range .Empty}}x{{else}}none{{end}}", "none"],
  ["{{if .State.Running}}up{{else}}down{{end}}", "up"],
  ['{{if eq .Name "x"}}1{{else if gt .State.Pid 5}}2{{else}}3{{end}}', "2"],
  ["{{if and .State.Running (not .Empty)}}yes{{end}}", "yes"],
  ["{{with .State}}{{.Pid}} {{$.Name}}{{end}}", "7 /web"],
  ["{{$x := .State.Pid}}{{$x}}", "7"],
  ['{{.Name | printf "%s!%q" .List | println}}', '[a b]!"/web"\n'],
  ['{{printf "%-6s|%3d|" .Name 5}}', "/web  |  5|"],
  ["a {{- .State.Pid -}} b", "a7b"],
  ['{{"\t"}}{{"\\t\\"\\x41\\101\\u00e9\\U0001F433"}}', '\t\t"AAé🐳'],
  ['{{/* comment */}}{{split "a,b" ","}}{{`raw`}}', "[a b]raw"],
])("renderTemplate(%j)", (template, expected) => {
  expect(renderTemplate(template, data)).toBe(expected);
});

describe("renderTemplate() refuses", () => {
  test.each([
    ["{{.Nope}}", 'executing "" at <.Nope>: map has no entry for key "Nope"', false],
    ["{{.Name.Nope}}", "can't evaluate field Nope", false],
    ["{{nope .Name}}", 'function "nope" not defined', false],
    ["{{.Name", "unclosed action", true],
    ["{{if .Name}}", "unexpected EOF", true],
    ["{{end}}", "unexpected {{end}}", true],
    ["{{}}", "missing value for command", true],
    ["{{.Name .Name}}", "Name is not a method but has arguments", false],
    ["{{.Name | .Name}}", "Name is not a method but has arguments", false],
    ["{{5 .Name}}", "in command", true],
    ["{{$nope}}", 'undefined variable "$nope"', false],
    ["{{index .List 5}}", "index out of range", false],
    ['{{"\\q"}}', "invalid syntax", true],
    ['{{"\\xg0"}}', "invalid syntax", true],
    ['{{"\\U00110000"}}', "invalid syntax", true],
    ['{{"\n"}}', "unterminated quoted string", true],
    ["{{pad .Name -1 0}}", "error calling pad", false],
  ])("%j", (template, message, isSyntax) => {
    expect(() => renderTemplate(template, data)).toThrow(
      expect.objectContaining({ message: expect.stringContaining(message), isSyntax }),
    );
  });
});
