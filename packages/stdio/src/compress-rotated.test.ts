import { afterAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { gunzipSync } from "node:zlib";
import { compressRotated } from "./compress-rotated.ts";
import { JsonFileWriter } from "./json-file.ts";
import { rotateFiles, withNames } from "./rotated-files.ts";

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-compress-"));
afterAll(() => fs.rmSync(dir, { recursive: true }));

/** A directory of its own with files in it. */
function files(name: string, contents: Record<string, string>) {
  const own = path.join(dir, name);
  fs.mkdirSync(own);
  for (const [file, text] of Object.entries(contents)) fs.writeFileSync(path.join(own, file), text);
  const read = () =>
    Object.fromEntries(
      fs
        .readdirSync(own)
        .sort()
        .map((file) => {
          const bytes = fs.readFileSync(path.join(own, file));
          return [file, (file.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString()];
        }),
    );
  return { log: path.join(own, "log"), read };
}

test("compressRotated() compresses whatever a killed one left, also what it had just linked", async () => {
  const { log, read } = files("left", { log: "now", "log.1": "one", "log.2": "two", "log.2.gz": "torn" });
  fs.utimesSync(`${log}.1`, 1000, 2000);
  await compressRotated(log, 3);
  expect(read()).toEqual({ log: "now", "log.1.gz": "one", "log.2.gz": "two" });
  expect(fs.statSync(`${log}.1.gz`)).toMatchObject({ mtimeMs: 2_000_000 });
  expect(fs.statSync(`${log}.1.gz`).mode & 0o777).toBe(0o640);
});

test("compressRotated() finds a file that was rotated meanwhile, and forgets one that was dropped", async () => {
  const big = "x".repeat(20 << 20);
  const { log, read } = files("moving", { log: "b", "log.1": big, "log.2.gz": "" });
  fs.writeFileSync(`${log}.2.gz`, Bun.gzipSync(Buffer.from("old")));
  const work = compressRotated(log, 3);
  await Bun.sleep(1);
  expect(rotateFiles(log, 3)).toBe(true);
  await work;
  expect(read()).toEqual({ "log.1.gz": "b", "log.2.gz": big });
});

test("rotateFiles() does nothing while somebody else has the names", () => {
  const { log, read } = files("locked", { log: "now" });
  withNames(log, () => expect(rotateFiles(log, 3)).toBe(false));
  expect(read()).toEqual({ log: "now" });
  expect(rotateFiles(log, 3)).toBe(true);
  expect(read()).toEqual({ "log.1": "now" });
});

test("JsonFileWriter tells of each file to compress, and of those that it finds", () => {
  const { log } = files("told", {});
  let told = 0;
  const open = () =>
    new JsonFileWriter(
      { path: log, maxSizeBytes: 100, maxFiles: 3, compress: true },
      {
        onError: (error) => {
          throw error;
        },
        onRotated: () => told++,
      },
    );
  const writer = open();
  expect(told).toBe(0);
  for (let i = 0; i < 4; i++) writer.write("stdout", Buffer.from(`${"x".repeat(100)}\n`));
  expect(told).toBe(3);
  writer.close();
  open().close();
  expect(told).toBe(4);
});
