import { afterAll, expect } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { EngineError, isErrno } from "@longshore/errors";
import { expectRefused, fuzz, mutated } from "@longshore/fuzz";
import fc from "fast-check";
import { applyLayer } from "./apply-layer.ts";
import { parsePax } from "./pax.ts";
import { TarReader } from "./tar-reader.ts";
import { paxHeader, type TestEntry, tarBlocks, tarOf } from "./testing.ts";

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "archive-fuzz-"));
const outside = path.join(dir, "outside");
fs.mkdirSync(outside);
fs.writeFileSync(path.join(outside, "secret"), "secret", { mode: 0o600 });
afterAll(() => fs.rmSync(dir, { recursive: true, force: true }));

/** Unpack any bytes as a layer. It works or fails with an error that says why; nothing outside has changed. */
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
        if (!(error instanceof EngineError) && !isErrno(error, ...FROM_FILE_SYSTEM)) throw error;
      }
    }
  } finally {
    fs.rmSync(root, { recursive: true, force: true });
  }
  expect(fs.readdirSync(outside)).toEqual(["secret"]);
  const { mode, nlink, size } = fs.statSync(path.join(outside, "secret"));
  expect([mode & 0o7777, nlink, size]).toEqual([0o600, 1, 6]);
}

/** What a file system answers to names, links and numbers that it refuses. */
const FROM_FILE_SYSTEM = [
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

fuzz(
  "applyLayer() unpacks a layer with changed bytes inside its root, or refuses it",
  fc.asyncProperty(mutated(VALID), fc.boolean(), (tar, sum) => survives(sum ? withChecksums(tar) : tar)),
  { runs: 150 },
);

fuzz(
  "applyLayer() unpacks a layer of any entries inside its root, or refuses it",
  fc.asyncProperty(fc.array(entry, { maxLength: 8 }), (entries) => survives(tarOf(entries))),
  { runs: 150 },
);

const paxBytes = fc.oneof(
  fc.uint8Array({ maxLength: 100 }),
  fc.string().map((text) => Buffer.from(text)),
  fc.tuple(fc.nat(60), fc.string()).map(([n, text]) => Buffer.from(`${n} ${text}\n`)),
);
const paxKey = fc.constantFrom(
  "path",
  "size",
  "uid",
  "mtime",
  "GNU.sparse.map",
  "GNU.sparse.size",
  "SCHILY.xattr.a",
);
const paxValue = fc.oneof(fc.string(), fc.double().map(String), fc.bigInt().map(String));

fuzz(
  "parsePax() reads any bytes or refuses them as invalid",
  fc.property(paxBytes, (bytes) => {
    expectRefused(() => parsePax(Buffer.from(bytes)), isInvalid);
  }),
  { runs: 2000 },
);

fuzz(
  "TarReader reads any extended header with the entry after it, or refuses both as invalid",
  fc.property(
    fc.dictionary(paxKey, paxValue),
    entry,
    fc.integer({ min: 1, max: 700 }),
    (records, file, pieceBytes) => {
      const tar = Buffer.concat([paxHeader(records), tarOf([file])]);
      const reader = new TarReader({ entry() {}, data() {}, hole() {}, entryEnd() {} });
      expectRefused(() => {
        for (let at = 0; at < tar.length; at += pieceBytes) reader.feed(tar.subarray(at, at + pieceBytes));
        reader.end();
      }, isInvalid);
    },
  ),
  { runs: 1000 },
);

const isInvalid = (error: unknown) => error instanceof EngineError && error.code === "invalid_argument";

/** Correct all checksums, so that the reader gets as far as the changed bytes. */
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
