import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { EngineError, isErrno } from "@longshore/errors";
import fc from "fast-check";
import { applyLayer } from "./apply-layer.ts";
import { parsePax } from "./pax.ts";
import { paxHeader, type TestEntry, tarBlocks, tarOf } from "./testing.ts";

setDefaultTimeout(60_000);

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "archive-fuzz-"));
const outside = path.join(dir, "outside");
fs.mkdirSync(outside);
fs.writeFileSync(path.join(outside, "secret"), "secret", { mode: 0o600 });
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

/** Unpack rubbish: it works, or there is an error that says what is wrong; nothing outside has changed. */
async function survives(tar: Buffer): Promise<void> {
  const root = fs.mkdtempSync(path.join(dir, "root-"));
  const file = path.join(dir, "layer.tar");
  fs.writeFileSync(file, tar);
  try {
    for (const [whiteouts, lowers] of [
      ["remove", []],
      ["overlay", []],
      ["overlay", "later"],
    ] as const) {
      try {
        await applyLayer(file, "none", root, { whiteouts, lowers });
      } catch (error) {
        const told = error instanceof EngineError || isErrno(error, ...TOLD);
        if (!told) throw error;
      }
    }
  } finally {
    fs.rmSync(root, { recursive: true, force: true });
  }
  expect(fs.readdirSync(outside)).toEqual(["secret"]);
  const { mode, nlink, size } = fs.statSync(path.join(outside, "secret"));
  expect([mode & 0o7777, nlink, size]).toEqual([0o600, 1, 6]);
}

/** What a file system says to names, links and numbers that make no sense to it. */
const TOLD = [
  "ENOENT",
  "ENOTDIR",
  "ELOOP",
  "EEXIST",
  "EISDIR",
  "ENAMETOOLONG",
  "EINVAL",
  "EPERM",
  "EXDEV",
  "EMLINK",
  "EFBIG",
  "ERANGE",
  "E2BIG",
];

const VALID = Buffer.concat([
  paxHeader({ mtime: "12.5", "SCHILY.xattr.user.x": "1" }),
  tarBlocks({ name: "d/", type: "5" }),
  tarBlocks({ name: "././@LongLink", type: "L", content: `d/${"n".repeat(120)}\0` }),
  tarBlocks({ name: "d/n", content: "content" }),
  paxHeader({ "GNU.sparse.map": "0,1,5,1", "GNU.sparse.size": "9" }),
  tarBlocks({ name: "d/sparse", content: "xy" }),
  tarBlocks({ name: "d/link", type: "1", linkName: "d/sparse" }),
  tarBlocks({ name: "d/.wh.gone" }),
  tarOf([{ name: "s", type: "2", linkName: "../outside" }]),
]);

test("a layer with bytes changed here and there", async () => {
  const change = fc.tuple(fc.nat(VALID.length - 1), fc.nat(255));
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 6 }), fc.boolean(), async (changes, sum) => {
      const tar = Buffer.from(VALID);
      for (const [at, byte] of changes) tar[at] = byte;
      await survives(sum ? withChecksums(tar) : tar);
    }),
    { numRuns: 150 },
  );
});

test("a layer of any entries", async () => {
  const part = fc.constantFrom("a", "b", "..", ".", "", ".wh.a", ".wh..wh..opq", "s", "\xff", "x".repeat(90));
  const name = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));
  const number = fc.constantFrom(0, 1, 5, 0o7777, 0o7777777);
  const entry: fc.Arbitrary<TestEntry> = fc.record(
    {
      name,
      type: fc.constantFrom("0", "1", "2", "5", "6", "7", "\0", "3"),
      linkName: fc.oneof(name, fc.constantFrom("../outside", "/", "../outside/secret", outside)),
      content: fc.constantFrom("", "x", "y".repeat(600)),
      mode: number,
      size: number,
      mtime: number,
    },
    { requiredKeys: ["name"] },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(entry, { maxLength: 8 }), async (entries) => survives(tarOf(entries))),
    { numRuns: 150 },
  );
});

test("extended headers of any bytes are read, or refused as invalid", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 100 }),
        fc.string().map((text) => Buffer.from(text)),
        fc.tuple(fc.nat(60), fc.string()).map(([n, text]) => Buffer.from(`${n} ${text}\n`)),
      ),
      (bytes) => {
        try {
          parsePax(Buffer.from(bytes));
        } catch (error) {
          expect(error).toMatchObject({ code: "invalid_argument" });
        }
      },
    ),
    { numRuns: 2000 },
  );
});

/** Let all checksums fit again, so that what was changed is looked at. */
function withChecksums(tar: Buffer): Buffer {
  for (let at = 0; at + 512 <= tar.length; at += 512) {
    const block = tar.subarray(at, at + 512);
    if (block.toString("latin1", 257, 262) !== "ustar") continue;
    block.write("        ", 148);
    const sum = block.reduce((a, b) => a + b, 0);
    block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  }
  return tar;
}
