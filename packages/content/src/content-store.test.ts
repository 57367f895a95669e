import { afterEach, beforeEach, expect, spyOn, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { digestOf } from "@longshore/digest";
import { ContentStore } from "./content-store.ts";

let root: string;
let store: ContentStore;
beforeEach(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), "content-test-"));
  store = new ContentStore(root);
});
afterEach(() => fs.rmSync(root, { recursive: true }));

const bytes = Buffer.from("hello, layer ".repeat(20_000));
const digest = digestOf(bytes);
const code = (wanted: string) => expect.objectContaining({ code: wanted });
const read = async (range = {}) => Buffer.concat(await Array.fromAsync(store.read(digest, range)));

async function ingest(ref = "r"): Promise<void> {
  const writer = await store.writer({ ref, total: bytes.length });
  await writer.write(bytes);
  await writer.commit(bytes.length, digest);
}

test("a committed ingest is a read-only blob under its digest, and nothing else", async () => {
  await ingest();
  expect(store.size(digest)).toBe(bytes.length);
  expect(fs.statSync(store.blobPath(digest)).mode & 0o777).toBe(0o444);
  expect(store.blobPath(digest)).toBe(path.join(root, "blobs", digest.replace(":", "/")));
  expect((await read()).equals(bytes)).toBe(true);
  expect(store.statuses()).toEqual([]);
  expect(store.list()).toEqual([digest]);
});

test("read() keeps to a range and to the chunk size", async () => {
  await ingest();
  expect((await read({ offset: 7, length: 5 })).toString()).toBe("layer");
  expect((await read({ offset: bytes.length })).length).toBe(0);
  const chunks = await Array.fromAsync(store.read(digest, { chunkBytes: 100_000 }));
  expect(chunks.map((chunk) => chunk.length)).toEqual([100_000, 100_000, 60_000]);
  expect(Array.fromAsync(store.read(digestOf("absent")))).rejects.toEqual(code("not_found"));
});

test("an interrupted ingest is resumed by another store where it stopped", async () => {
  const first = await store.writer({ ref: "r", total: bytes.length });
  await first.write(bytes.subarray(0, 100_000));
  await first.close();
  expect(store.status("r")).toMatchObject({ ref: "r", offset: 100_000, total: bytes.length });

  store = new ContentStore(root);
  const second = await store.writer({ ref: "r" });
  expect(second.status()).toMatchObject({ offset: 100_000, total: bytes.length });
  expect(second.digest()).toBe(digestOf(bytes.subarray(0, 100_000)));
  await second.write(bytes.subarray(100_000));
  await second.commit(0, digest);
  expect((await read()).equals(bytes)).toBe(true);
});

test("a wrong digest leaves nothing behind", async () => {
  const writer = await store.writer({ ref: "r" });
  await writer.write(bytes);
  expect(writer.commit(0, digestOf("else"))).rejects.toEqual(code("failed_precondition"));
  await writer.commit().catch(() => {});
  expect(store.list()).toEqual([]);
  expect(fs.readdirSync(path.join(root, "ingest"))).toEqual([]);
  await ingest();
});

test("a wrong size keeps the ingest for resumption", async () => {
  const writer = await store.writer({ ref: "r" });
  await writer.write(bytes.subarray(0, 10));
  await writer
    .commit(bytes.length, digest)
    .catch((error) => expect(error).toEqual(code("failed_precondition")));
  expect(store.status("r").offset).toBe(10);
  expect(store.list()).toEqual([]);
});

test("a commit that is refused leaves the descriptor open for the sync that runs", async () => {
  const writer = await store.writer({ ref: "r" });
  await writer.write(bytes);
  const { fsync } = fs;
  const held = Promise.withResolvers<void>();
  let calls = 0;
  // The first one is held; those after it are over at once, so that whatever doesn't wait for it is done before it goes on.
  const holding = (fd: number, done: fs.NoParamCallback): void => {
    if (calls++ === 0) void held.promise.then(() => fsync(fd, done));
    else done(null);
  };
  using _ = spyOn(fs, "fsync").mockImplementation(
    Object.assign(holding, { __promisify__: fsync.__promisify__ }),
  );
  const synced = writer.sync();
  const refused = writer.commit(bytes.length + 1);
  const closed = writer.close();
  for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
  held.resolve();
  expect(await synced.catch((error) => error)).toBeUndefined();
  expect(await refused.catch((error) => error)).toEqual(code("failed_precondition"));
  await closed;
});

test("a ref has one writer at a time", async () => {
  const writer = await store.writer({ ref: "r" });
  expect(store.writer({ ref: "r" })).rejects.toEqual(code("unavailable"));
  await store.writer({ ref: "other" }).then((other) => other.close());
  await writer.close();
  await store.writer({ ref: "r" }).then((again) => again.close());
});

test("committing a blob that exists says so and cleans up", async () => {
  await ingest();
  const writer = await store.writer({ ref: "again" });
  await writer.write(bytes);
  await writer.commit().catch((error) => expect(error).toEqual(code("already_exists")));
  expect(store.statuses()).toEqual([]);
  expect(store.list()).toEqual([digest]);
});

test("truncate() begins again", async () => {
  const writer = await store.writer({ ref: "r" });
  await writer.write(Buffer.from("rubbish"));
  writer.truncate();
  await writer.write(bytes);
  expect(await writer.commit(0, digest)).toEqual({ digest, size: bytes.length });
});

test("abort() removes the ingest and makes its writer fail", async () => {
  const writer = await store.writer({ ref: "r" });
  await writer.write(bytes);
  expect(await store.abort("r")).toBe(true);
  expect(await store.abort("r")).toBe(false);
  expect(writer.write(bytes)).rejects.toEqual(code("failed_precondition"));
  expect(writer.commit()).rejects.toEqual(code("failed_precondition"));
  expect(store.statuses()).toEqual([]);
});

test("commit() verifies a digest of another algorithm", async () => {
  const sha512 = `sha512:${Bun.CryptoHasher.hash("sha512", bytes, "hex")}` as const;
  const writer = await store.writer({ ref: "r" });
  await writer.write(bytes);
  expect((await writer.commit(0, sha512)).digest).toBe(sha512);
  expect(store.list()).toEqual([sha512]);
});

test("delete() says whether there was such a blob", async () => {
  await ingest();
  expect(await store.delete(digest)).toBe(true);
  expect(await store.delete(digest)).toBe(false);
  expect(store.size(digest)).toBeUndefined();
});

test("readFile() follows what somebody else appended to an ingest's file, and refuses one that shrank", async () => {
  const writer = await store.writer({ ref: "r", total: bytes.length });
  await writer.write(bytes.subarray(0, 1000));
  const { path: file, inode } = writer.file();
  expect(fs.statSync(file, { bigint: true }).ino).toBe(inode);
  fs.appendFileSync(file, bytes.subarray(1000));
  await writer.readFile();
  expect([writer.status().offset, writer.digest()]).toEqual([bytes.length, digest]);
  fs.truncateSync(file, 10);
  await expect(writer.readFile()).rejects.toEqual(code("failed_precondition"));
  fs.writeFileSync(file, bytes);
  await writer.commit(bytes.length, digest);
  expect(store.size(digest)).toBe(bytes.length);
});
