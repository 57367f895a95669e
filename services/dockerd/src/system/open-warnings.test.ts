import { expect, test } from "bun:test";
import { openWarnings } from "./open-warnings.ts";

test("openWarnings() tells of addresses whose clients nobody asks who they are", () => {
  const settings = { hosts: ["unix:///x.sock", "tcp://127.0.0.1:2375"], authorizationPlugins: [] };
  const files = { cert: "c", key: "k" };
  const begin = (tls: Parameters<typeof openWarnings>[0]["tls"]) =>
    openWarnings({ ...settings, tls }).map((warning) => warning.split("\n")[0]);
  expect(begin(undefined)).toEqual([
    "WARNING: API is accessible on http://127.0.0.1:2375 without encryption.",
  ]);
  expect(begin({ ...files, ca: undefined })).toEqual([
    "WARNING: API is accessible on https://127.0.0.1:2375 without TLS client verification.",
  ]);
  expect(begin({ ...files, ca: "a" })).toEqual([]);
  expect(openWarnings({ ...settings, tls: undefined, authorizationPlugins: ["asked"] })).toEqual([]);
});
