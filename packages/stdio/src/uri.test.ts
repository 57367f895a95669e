import { expect, test } from "bun:test";
import { formatStdioUri, isStdioUri, parseStdioUri } from "./uri.ts";

test("parseStdioUri() reads what formatStdioUri() writes", () => {
  const uris = [
    { socketPath: "/run/longshore/io/a b?/s" },
    { socketPath: "/s", log: { path: "/var/lib/x&y=1/c-json.log" } },
    { socketPath: "/s", log: { path: "/l", maxSizeBytes: 10_000_000, maxFiles: 3 } },
    { socketPath: "/s", log: { path: "/l", maxSizeBytes: 1000, maxFiles: 2, compress: true } },
  ];
  for (const uri of uris) expect(parseStdioUri(formatStdioUri(uri))).toEqual(uri);
  expect(formatStdioUri({ socketPath: "/run/s", log: { path: "/l", maxSizeBytes: 5, maxFiles: 2 } })).toBe(
    "longshore:///run/s?log=json-file&log-path=%2Fl&max-size=5&max-file=2",
  );
});

test("parseStdioUri() refuses what it does not know", () => {
  const bad = [
    "longshore://relative",
    "longshore:///s?log=syslog",
    "longshore:///s?log=json-file",
    "longshore:///s?x=1",
    "longshore:///s?log=json-file&log-path=/l&max-size=9&max-file=2&compress=yes",
    "longshore:///s?log=json-file&log-path=/l&max-size=9&compress=true",
    "longshore:///s?log=json-file&log-path=/l&max-file=2&compress=true",
  ];
  for (const uri of [...bad, "longshore:///s?log=json-file&log-path=/l&max-size=0", "file:///s"]) {
    expect(() => parseStdioUri(uri)).toThrow("stdio ");
  }
});

test("isStdioUri() knows our scheme from FIFOs and the original's", () => {
  expect(["longshore:///s", "/run/fifo", "file:///x", ""].map(isStdioUri)).toEqual([
    true,
    false,
    false,
    false,
  ]);
});
