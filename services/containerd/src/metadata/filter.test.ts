import { describe, expect, test } from "bun:test";
import { type FieldLookup, lookupIn, parseFilters } from "./filter.ts";

const object = (name: string, labels: Record<string, string> = {}): FieldLookup => {
  return ([head, ...rest]) => {
    if (head === "name") return name;
    if (head === "labels") return lookupIn(labels, rest);
    return undefined;
  };
};
const passes = (filters: string[], lookup: FieldLookup) => parseFilters(filters)(lookup);

describe("parseFilters()", () => {
  const foo = object("foo", { bar: "baz", "very complex": "x", "io.containerd/x.y": "1", empty: "" });

  test.each([
    ["name==foo", true],
    ["name==bar", false],
    ["name!=bar", true],
    ["name!=foo", false],
    ["labels.bar", true],
    ["labels.absent", false],
    ["labels.empty", true],
    ["labels.absent==", undefined],
    ["labels.bar==baz,name==foo", true],
    ["labels.bar==baz,name==nope", false],
    ['labels."very complex"==x', true],
    ['labels."io.containerd/x.y"==1', true],
    ["name~=^f", true],
    ["name~=|^f(oo)?$|", true],
    ["name~=/^b/", false],
    ["name~=(?i)^FOO$", true],
    ["labels.absent!=x", true],
    ['name=="fo\\x6f"', true],
    ["name~=(", false],
    ["missing~=x", false],
    ["", true],
  ])("%p", (filter, expected) => {
    if (expected === undefined) expect(() => parseFilters([filter])).toThrow(/expected value|not terminated/);
    else expect(passes([filter], foo)).toBe(expected);
  });

  test("takes any of several, everything of none", () => {
    expect(passes(["name==a", "name==foo"], foo)).toBe(true);
    expect(passes(["name==a", "name==b"], foo)).toBe(false);
    expect(passes([], foo)).toBe(true);
  });

  test("dockerd's event filter works", () => {
    const event = (namespace: string, topic: string): FieldLookup =>
      lookupIn.bind(null, { namespace, topic });
    const filter = ["namespace==moby,topic~=|^/tasks/|"];
    expect(passes(filter, event("moby", "/tasks/exit"))).toBe(true);
    expect(passes(filter, event("moby", "/images/create"))).toBe(false);
    expect(passes(filter, event("default", "/tasks/exit"))).toBe(false);
  });

  test.each(["name=foo", "name==foo bar", "==x", "name==foo,", "name.", 'name=="x', "name==|x|", "a b"])(
    "refuses %p",
    (filter) => {
      expect(() => parseFilters([filter])).toThrow(expect.objectContaining({ code: "invalid_argument" }));
    },
  );
});
