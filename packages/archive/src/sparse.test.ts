import { afterAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { applyLayer } from "./apply-layer.ts";

const isRoot = process.getuid?.() === 0;
const dir = fs.mkdtempSync(path.join(os.tmpdir(), "sparse-"));
afterAll(() => fs.rmSync(dir, { recursive: true }));

/** Parts at the given places, in a file of 64 MiB, the rest of which is holes. */
function sparseFile(name: string, places: readonly number[]): string {
  const file = path.join(dir, name);
  const fd = fs.openSync(file, "w");
  for (const place of places) fs.writeSync(fd, `part at ${place}`, place);
  fs.ftruncateSync(fd, 64 << 20);
  fs.closeSync(fd);
  return name;
}

// The old format has four parts in the header and 21 in each block after it.
const many = Array.from({ length: 60 }, (_, i) => i << 20);
const FILES = [
  sparseFile("empty", []),
  sparseFile("begin", [0]),
  sparseFile("end", [(64 << 20) - 20]),
  sparseFile("many", many),
];

const FORMATS = [
  ["--format=gnu"],
  ["--format=pax", "--sparse-version=0.0"],
  ["--format=pax", "--sparse-version=0.1"],
  ["--format=pax", "--sparse-version=1.0"],
];

describe.skipIf(!isRoot)("sparse files", () => {
  test.each(FORMATS)("as GNU tar writes them with %s %s", async (...format) => {
    const archive = path.join(dir, "archive.tar");
    expect(spawnSync("tar", ["--sparse", ...format, "-cf", archive, "-C", dir, ...FILES]).status).toBe(0);
    expect(fs.statSync(archive).size).toBeLessThan(2 << 20);
    const out = fs.mkdtempSync(path.join(dir, "out-"));
    await applyLayer(archive, "none", out, { whiteouts: "remove" });
    for (const name of FILES) {
      const [from, to] = [path.join(dir, name), path.join(out, name)];
      expect(spawnSync("cmp", [from, to]).status).toBe(0);
      expect(fs.statSync(to).size).toBe(64 << 20);
      expect(fs.statSync(to).blocks * 512).toBeLessThan(2 << 20);
    }
  });
});
