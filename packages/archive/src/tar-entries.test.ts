import { expect, test } from "bun:test";
import zlib from "node:zlib";
import { decompressStream } from "./decompress-stream.ts";
import { tarEntries } from "./tar-entries.ts";
import { contentPadding, END_BLOCKS, headerBlocks } from "./tar-writer.ts";

function file(name: string, content: string): Buffer {
  const common = { linkName: "", mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n, atimeNs: 0n, major: 0, minor: 0 };
  const size = Buffer.byteLength(content);
  const header = headerBlocks({ ...common, name, type: "file", size, xattrs: new Map() });
  return Buffer.concat([header, Buffer.from(content), contentPadding(size)]);
}

async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const archive = Buffer.concat([
  file("a", "first"),
  file("empty", ""),
  file("b", "x".repeat(2000)),
  END_BLOCKS,
]);

test.each([1, 7, 512, 100_000])(
  "tarEntries() gives each file its content, in pieces of %d bytes",
  async (size) => {
    const found: Record<string, string> = {};
    for await (const { entry, content } of tarEntries(pieces(archive, size))) {
      const parts: Buffer[] = [];
      for await (const part of content) parts.push(Buffer.from(part));
      found[entry.name] = Buffer.concat(parts).toString();
    }
    expect(found).toEqual({ a: "first", empty: "", b: "x".repeat(2000) });
  },
);

test("tarEntries() skips what nobody reads, also half-way", async () => {
  const names: string[] = [];
  for await (const { entry, content } of tarEntries(pieces(archive, 600))) {
    names.push(entry.name);
    if (entry.name === "b") await content[Symbol.asyncIterator]().next();
  }
  expect(names).toEqual(["a", "empty", "b"]);
});

test("tarEntries() refuses an archive that ends within a file", async () => {
  const read = async () => {
    for await (const _ of tarEntries(pieces(archive.subarray(0, 2000), 512)));
  };
  expect(read()).rejects.toThrow("unexpected EOF");
});

const PACKED: [string, (bytes: Buffer) => Buffer][] = [
  ["nothing", (bytes) => bytes],
  ["gzip", (bytes) => zlib.gzipSync(bytes)],
  ["zstd", (bytes) => zlib.zstdCompressSync(bytes)],
  ["xz", (bytes) => Buffer.from(Bun.spawnSync(["xz", "-c"], { stdin: bytes }).stdout)],
  ["bzip2", (bytes) => Buffer.from(Bun.spawnSync(["bzip2", "-c"], { stdin: bytes }).stdout)],
];

test.each(PACKED)("decompressStream() sees by itself that %s was used", async (name, pack) => {
  if ((name === "xz" || name === "bzip2") && !Bun.which(name)) return;
  const out: Buffer[] = [];
  for await (const chunk of decompressStream(pieces(pack(archive), 100))) out.push(Buffer.from(chunk));
  expect(Buffer.concat(out).equals(archive)).toBe(true);
});

test("decompressStream() says which compression is damaged, and passes a failing source's error on", async () => {
  const read = async (source: AsyncIterable<Buffer>) => {
    for await (const _ of decompressStream(source));
  };
  expect(read(pieces(zlib.gzipSync(archive).subarray(0, 60), 10))).rejects.toThrow("gzip: ");
  async function* failing(): AsyncGenerator<Buffer> {
    yield zlib.gzipSync(archive).subarray(0, 20);
    throw new Error("the line was cut");
  }
  expect(read(failing())).rejects.toThrow("the line was cut");
});
