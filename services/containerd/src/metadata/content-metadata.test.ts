import { afterEach, beforeEach, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import { ContentStore } from "@longshore/content";
import { digestOf } from "@longshore/digest";
import { openStore, type Store } from "@longshore/store";
import { ContentMetadata } from "./content-metadata.ts";
import { Database } from "./database.ts";
import { LeaseMetadata } from "./lease-metadata.ts";

const mine = { namespace: "mine" };
const other = { namespace: "other" };
const bytes = Buffer.from("some bytes");
const digest = digestOf(bytes);
const code = (wanted: string) => expect.objectContaining({ code: wanted });

let dir: string;
let store: Store;
let content: ContentMetadata;
let leases: LeaseMetadata;
beforeEach(() => {
  dir = fs.mkdtempSync(`${os.tmpdir()}/content-metadata-`);
  store = openStore("sqlite::memory:");
  const database = new Database(store);
  content = new ContentMetadata(database, new ContentStore(dir));
  leases = new LeaseMetadata(database);
});
afterEach(async () => {
  await store[Symbol.asyncDispose]();
  fs.rmSync(dir, { recursive: true });
});

async function put(scope: { namespace: string; lease?: string }, labels: Record<string, string> = {}) {
  const writer = await content.writer(scope, { ref: "r", total: 0 });
  await writer.write(bytes);
  return writer.commit(bytes.length, digest, labels);
}

test("a namespace sees its own content only", async () => {
  await put(mine, { a: "1", empty: "" });
  expect(await content.info(mine, digest)).toMatchObject({ digest, size: bytes.length, labels: { a: "1" } });
  expect(content.info(other, digest)).rejects.toEqual(code("not_found"));
  expect(Array.fromAsync(content.read(other, digest))).rejects.toEqual(code("not_found"));
  expect(await content.list(other, [])).toEqual([]);
});

test("another namespace adopts a blob without its bytes", async () => {
  await put(mine);
  const writer = await content.writer(other, { ref: "r", total: bytes.length, expected: digest });
  expect(writer.status()).toMatchObject({ offset: bytes.length, total: bytes.length });
  await writer.commit(bytes.length, digest, { b: "2" });
  expect((await content.info(other, digest)).labels).toEqual({ b: "2" });
  expect((await content.info(mine, digest)).labels).toEqual({});
});

test("writing to an adopted blob makes a copy", async () => {
  await put(mine);
  const appended = await content.writer(other, { ref: "a", total: 0, expected: digest });
  await appended.write(Buffer.from("!"));
  expect((await appended.commit(0, undefined, {})).digest).toBe(digestOf("some bytes!"));
  const truncated = await content.writer(other, { ref: "t", total: 0, expected: digest });
  await truncated.truncate();
  await truncated.write(Buffer.from("new"));
  expect((await truncated.commit(0, undefined, {})).digest).toBe(digestOf("new"));
  expect((await content.info(mine, digest)).size).toBe(bytes.length);
});

test("writer() of what the namespace has says so, and puts it under the lease", async () => {
  await put(mine);
  await leases.create(mine, "l", {});
  const leased = { ...mine, lease: "l" };
  expect(content.writer(leased, { ref: "x", total: 0, expected: digest })).rejects.toEqual(
    code("already_exists"),
  );
  await content.writer(leased, { ref: "x", total: 0, expected: digest }).catch(() => {});
  expect(await leases.listResources(mine, "l")).toEqual([{ type: "content", id: digest }]);
  expect(put({ ...mine, lease: "absent" })).rejects.toEqual(code("not_found"));
});

test("commit() of what came by another way meanwhile says so, and ends the ingest", async () => {
  const writer = await content.writer(mine, { ref: "second", total: 0 });
  await writer.write(bytes);
  await put(mine);
  expect(writer.commit(0, digest, {})).rejects.toEqual(code("already_exists"));
  await writer.close();
  expect(await content.statuses(mine, [])).toEqual([]);
});

test("update() changes all labels or those named, and nothing else", async () => {
  await put(mine, { a: "1", b: "2" });
  const labels = async (wanted: Record<string, string>, paths: string[]) =>
    (await content.update(mine, digest, wanted, paths)).labels;
  expect(await labels({ a: "9", c: "3" }, ["labels.c"])).toEqual({ a: "1", b: "2", c: "3" });
  expect(await labels({}, ["labels.a"])).toEqual({ b: "2", c: "3" });
  expect(await labels({ z: "1" }, ["labels"])).toEqual({ z: "1" });
  expect(await labels({ y: "1" }, [])).toEqual({ y: "1" });
  expect(labels({}, ["size"])).rejects.toEqual(code("invalid_argument"));
  expect(labels({ big: "x".repeat(5000) }, [])).rejects.toEqual(code("invalid_argument"));
});

test("list() filters by digest and by label", async () => {
  await put(mine, { "a.b/c": "1" });
  const count = async (...filters: string[]) => (await content.list(mine, filters)).length;
  expect(await count(`digest==${digest}`)).toBe(1);
  expect(await count('labels."a.b/c"==1')).toBe(1);
  expect(await count('labels."a.b/c"==2', "digest~=^sha512")).toBe(0);
});

test("statuses() lists a namespace's ingests under their own refs", async () => {
  for (const scope of [mine, other]) {
    const writer = await content.writer(scope, { ref: `of ${scope.namespace}`, total: 20 });
    await writer.write(bytes);
    await writer.close();
  }
  expect(await content.statuses(mine, [])).toMatchObject([{ ref: "of mine", offset: 10, total: 20 }]);
  expect(await content.statuses(mine, ["ref==nope"])).toEqual([]);
  await content.abort(mine, "of mine");
  expect(content.status(mine, "of mine")).rejects.toEqual(code("not_found"));
  expect(content.abort(mine, "of mine")).rejects.toEqual(code("not_found"));
  expect(await content.statuses(other, [])).toHaveLength(1);
});
