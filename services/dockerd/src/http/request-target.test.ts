import { expect, test } from "bun:test";
import { repeatedKey } from "./repeated-key.ts";
import { repeatedParameter } from "./repeated-parameter.ts";
import { parseTarget } from "./request-target.ts";

test("parseTarget() takes what clients send", () => {
  const path = "/v1.41/images/127.0.0.1%3A5000%2Fa%2Fb%3A1/json";
  expect(parseTarget(path)).toMatchObject({ uri: path, path });
  const uri = '/containers/json?all=1&filters={"name":["a b%22"]}'.replace(" ", "%20");
  const { path: list, query } = parseTarget(uri);
  expect(list).toBe("/containers/json");
  expect([query.get("all"), query.get("filters")]).toEqual(["1", '{"name":["a b""]}']);
  expect(parseTarget("/images/a/b@sha256:00/json?").path).toBe("/images/a/b@sha256:00/json");
  expect(parseTarget("/").path).toBe("/");
});

test.each([
  "/containers/create#/auth",
  "/containers/json?x=1#/auth",
  "http://docker/info",
  "//info",
  "/containers//json",
  "/images/../info",
  "/images/./json",
  "/images/%2e%2e/info",
  "/containers/%63reate",
  "/containers\\create",
  "/containers%5ccreate",
  "/info%00",
  "/info%0d%0aHost:x",
  "/info;x",
  "/info%",
  "/info?x=%zz",
  "/info?x=1;y=2",
  "/in\tfo",
  "/inf\u00f6",
  "*",
  "",
])("parseTarget() refuses %j", (uri) => {
  expect(() => parseTarget(uri)).toThrow("invalid request URI");
});

test("repeatedKey() finds a key that one object has twice, and no other", () => {
  expect(repeatedKey('{"a":1,"b":{"a":[{"a":1},{"a":2}]},"c":"\\"a\\":{"}')).toBeUndefined();
  expect(repeatedKey('{"Labels":{"app":"1","App":"2"}}')).toBeUndefined();
  expect(repeatedKey('{"a":1,"b":{"x":1,"y":{},"x":2}}')).toBe("x");
  expect(repeatedKey('{"HostConfig":{},"Host\\u0043onfig":{}}')).toBe("HostConfig");
  expect(repeatedKey("[1,")).toBeUndefined();
});

test("repeatedParameter() finds a parameter that a query has twice, unless it is a list", () => {
  const find = (query: string, ...lists: string[]) => repeatedParameter(new URLSearchParams(query), lists);
  expect(find("")).toBeUndefined();
  expect(find("names=a&names=b&all=1", "names")).toBeUndefined();
  expect(find("names=a&names=b&all=1", "changes")).toBe("names");
  expect(find("force=0&v=1&force=1")).toBe("force");
  expect(find("force=0&%66orce=1")).toBe("force");
});
