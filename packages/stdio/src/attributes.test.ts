import { afterAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { JsonFileWriter, MAX_ATTRIBUTES_BYTES } from "./json-file.ts";
import { formatStdioUri, parseStdioUri } from "./uri.ts";

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-attributes-"));
afterAll(() => fs.rmSync(dir, { recursive: true }));

const fail = (error: unknown) => {
  throw error;
};

test("JsonFileWriter puts a log's attributes into every entry, however large they are", () => {
  for (const attributes of [{ com: "a,b", tür: 'x"<€' }, { big: "x".repeat(MAX_ATTRIBUTES_BYTES - 20) }]) {
    const file = path.join(dir, Object.keys(attributes).join(""));
    const writer = new JsonFileWriter({ path: file, attributes }, { onError: fail });
    const lines = Array.from({ length: 50 }, (_, n) => `${n} ${n % 7 === 0 ? "€" : "x".repeat(n * 100)}`);
    writer.write("stdout", Buffer.from(`${lines.join("\n")}\nlast`));
    writer.close();
    const entries = fs
      .readFileSync(file, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(entries.map(({ log }) => log.trimEnd())).toEqual([...lines, "last"]);
    for (const entry of entries) {
      expect(entry.attrs).toEqual(attributes);
      expect(Object.keys(entry)).toEqual(["log", "stream", "attrs", "time"]);
    }
  }
});

test("JsonFileWriter refuses attributes that leave no room in an entry", () => {
  const attributes = { big: "x".repeat(MAX_ATTRIBUTES_BYTES) };
  expect(() => new JsonFileWriter({ path: path.join(dir, "no"), attributes }, { onError: fail })).toThrow(
    "the attributes of a log are too long",
  );
});

test("a stdio URI carries attributes and a program", () => {
  const uri = {
    socketPath: "/run/a b",
    log: { path: "/l/x", attributes: { "a&b": "c=d é" } },
    logger: { uri: "binary:///bin/l?x=/y%20z", bufferBytes: 4096, droppedFile: "/l/dropped" },
  };
  expect(parseStdioUri(formatStdioUri(uri))).toEqual(uri);
  const only = { socketPath: "/run/s", logger: { uri: "binary:///bin/l" } };
  expect(parseStdioUri(formatStdioUri(only))).toEqual(only);
  expect(() => parseStdioUri("longshore:///s?logger=file:///x")).toThrow("logger is no binary:// URI");
  expect(() => parseStdioUri("longshore:///s?log=json-file&log-path=/l&attrs=[]")).toThrow(
    "attrs is no JSON object",
  );
});
