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
  ["{{range .State.Pid}}x{{end}}{{index .Name 1}}", "xxxxxxx119"],
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
    ["{{.Name.Nope}}", "can't evaluate field Nope in type string", false],
    ["{{nope .Name}}", 'function "nope" not defined', true],
    ["{{.Name", "unclosed action", true],
    ["{{if .Name}}", "unexpected EOF", true],
    ["{{end}}", "unexpected {{end}}", true],
    ["{{}}", "missing value for command", true],
    ["{{if}}{{end}}", "missing value for if", true],
    ["{{.Name .Name}}", "Name is not a method but has arguments", false],
    ["{{.Name | .Name}}", "Name is not a method but has arguments", false],
    ["{{5 .Name}}", "in command", true],
    ["{{$nope}}", 'undefined variable "$nope"', true],
    [
      "{{index .List 5}}",
      ':1:2: executing "" at <index .List 5>: error calling index: index out of range: 5',
      false,
    ],
    ['{{.List | len}} {{index .List "a"}}', "cannot index slice/array with type string", false],
    ["{{index .Name 9}}", "index out of range: 9", false],
    ["{{index .Labels 9}}", "error calling index: value has type int; should be string", false],
    [
      "\n {{.Name}} {{index .List (len .Name) | json}}",
      ':2:13: executing "" at <index .List (len .Name)>',
      false,
    ],
    ["{{len .State.Pid}}", "error calling len: len of type int", false],
    ["{{range .Name}}{{end}}", "at <.Name>: range can't iterate over /web", false],
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

  test("with its name and what came before", () => {
    expect(() => renderTemplate("{{.Name", data, "tag")).toThrow("template: tag:1: unclosed action");
    const words = 'template: tag:1:12: executing "tag" at <.Nope>: map has no entry for key "Nope"';
    expect(() => renderTemplate("a{{.Name}}{{.Nope}}b", data, "tag")).toThrow(
      expect.objectContaining({ message: words, output: "a/web" }),
    );
  });
});
