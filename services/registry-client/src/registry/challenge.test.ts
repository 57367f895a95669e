import { expect, test } from "bun:test";
import fc from "fast-check";
import { parseChallenges } from "./challenge.ts";

test.each<[string, unknown[]]>([
  ["", []],
  ["Basic", [{ scheme: "basic", parameters: {} }]],
  ['Basic realm="a b"', [{ scheme: "basic", parameters: { realm: "a b" } }]],
  [
    'Bearer realm="https://r.example/token",service="s",scope="repository:a/b:pull,push"',
    [
      {
        scheme: "bearer",
        parameters: { realm: "https://r.example/token", service: "s", scope: "repository:a/b:pull,push" },
      },
    ],
  ],
  [
    'Basic realm="x", BEARER Realm=y, Service="q\\"uote"',
    [
      { scheme: "basic", parameters: { realm: "x" } },
      { scheme: "bearer", parameters: { realm: "y", service: 'q"uote' } },
    ],
  ],
  ['realm="no scheme"', []],
  ['Bearer realm="unterminated', [{ scheme: "bearer", parameters: {} }]],
  [
    "Bearer __proto__=x",
    [{ scheme: "bearer", parameters: Object.assign(Object.create(null), { ["__proto__"]: "x" }) }],
  ],
])("parseChallenges(%j)", (header, expected) => {
  expect(JSON.stringify(parseChallenges(header))).toBe(JSON.stringify(expected));
});

test("parseChallenges() ends for any header", () => {
  fc.assert(fc.property(fc.string(), (header) => void parseChallenges(header)));
});
