import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { ContentStore } from "@longshore/content";
import type { Digest } from "@longshore/digest";
import type { Logger } from "@longshore/log";
import { OverlaySnapshotter } from "@longshore/snapshots";
import { openStore, type Store } from "@longshore/store";
import { ContentMetadata } from "./content-metadata.ts";
import { Database } from "./database.ts";
import { GarbageCollector } from "./garbage-collector.ts";
import { DEFAULT_GC_SCHEDULE } from "./gc-scheduler.ts";
import { ImageMetadata } from "./image-metadata.ts";
import { LeaseMetadata } from "./lease-metadata.ts";
import type { Scope } from "./scope.ts";
import { SnapshotMetadata } from "./snapshot-metadata.ts";

const scope: Scope = { namespace: "default" };
const PAST = "2001-01-01T00:00:00Z";
const FUTURE = "2999-01-01T00:00:00Z";
const log = { debug() {}, warn() {}, error() {} } as unknown as Logger;

let dir: string;
let store: Store;
let database: Database;
let content: ContentMetadata;
let images: ImageMetadata;
let leases: LeaseMetadata;
let snapshots: SnapshotMetadata;
let snapshotter: OverlaySnapshotter;
let collector: GarbageCollector;
const deleted: string[] = [];

beforeEach(async () => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "gc-test-"));
  store = openStore("sqlite::memory:");
  database = new Database(store);
  const backend = new ContentStore(path.join(dir, "content"));
  content = new ContentMetadata(database, backend);
  images = new ImageMetadata(database);
  leases = new LeaseMetadata(database);
  snapshotter = await OverlaySnapshotter.open({ root: path.join(dir, "overlayfs"), store });
  snapshots = new SnapshotMetadata(database, snapshotter);
  deleted.length = 0;
  collector = newCollector(0);
});

function newCollector(workInProgressMs: number): GarbageCollector {
  return new GarbageCollector({
    database,
    backend: content.backend,
    snapshotters: new Map([["overlayfs", snapshotter]]),
    log,
    schedule: { ...DEFAULT_GC_SCHEDULE, startupDelayMs: 0, pauseThreshold: 0 },
    workInProgressMs,
    onImageDeleted: (_, name) => deleted.push(`image ${name}`),
    onSnapshotRemoved: (_, __, key) => deleted.push(`snapshot ${key}`),
  });
}

afterEach(async () => {
  await collector[Symbol.asyncDispose]();
  await snapshotter[Symbol.asyncDispose]();
  await store[Symbol.asyncDispose]();
  fs.rmSync(dir, { recursive: true });
});

async function blob(text: string, labels: Record<string, string> = {}, as: Scope = scope): Promise<Digest> {
  const writer = await content.writer(as, { ref: `put-${text}`, total: 0 });
  await writer.write(Buffer.from(text));
  const { digest } = await writer.commit(0, undefined, labels);
  return digest;
}
const image = (name: string, digest: string, labels: Record<string, string> = {}) =>
  images.create(scope, { name, labels, target: { mediaType: "m", digest, size: 1, annotations: {} } });
const left = async (as = scope) => (await content.list(as, [])).map(({ digest }) => digest).sort();
const snapshotNames = async () => (await snapshots.list(scope, [])).map(({ name }) => name).sort();
async function layer(name: string, parent = "", labels: Record<string, string> = {}): Promise<void> {
  await snapshots.prepare(scope, { key: `key-${name}`, parent, labels: {} });
  await snapshots.commit(scope, { name, key: `key-${name}`, parent: "", labels });
}

describe("collect()", () => {
  test("keeps what an image reaches, and removes the rest with its bytes", async () => {
    const config = await blob("config");
    const base = await blob("base");
    const manifest = await blob("manifest", {
      "containerd.io/gc.ref.content.config": config,
      "containerd.io/gc.ref.content.l.0": base,
      "containerd.io/gc.ref.snapshot.overlayfs": "top",
    });
    const garbage = await blob("garbage");
    await layer("bottom");
    await layer("top", "bottom");
    await layer("lonely", "bottom");
    await image("img", manifest);
    expect(await collector.collect()).toMatchObject({ content: 1, snapshots: 1, blobs: 1 });
    expect(await left()).toEqual([config, base, manifest].sort());
    expect(await snapshotNames()).toEqual(["bottom", "top"]);
    expect(content.backend.size(garbage)).toBeUndefined();

    await images.delete(scope, "img");
    expect(await collector.collect()).toMatchObject({ content: 3, snapshots: 2, blobs: 3 });
    expect(content.backend.list()).toEqual([]);
    expect(deleted).toEqual(["snapshot lonely", "snapshot top", "snapshot bottom"]);
  });

  test("keeps a blob that is just being read or unpacked", async () => {
    const unreferenced = await blob("unreferenced");
    const reading = content.read(scope, unreferenced as Digest, { chunkBytes: 1 });
    await reading.next();
    {
      using _ = content.hold(scope, unreferenced as Digest);
      await collector.collect();
      expect(await left()).toEqual([unreferenced]);
    }
    await collector.collect();
    expect(await left()).toEqual([unreferenced]);
    await reading.return(undefined);
    await collector.collect();
    expect(await left()).toEqual([]);
  });

  test("keeps a container's snapshot with all below it", async () => {
    await layer("bottom");
    await snapshots.prepare(scope, { key: "rw", parent: "bottom", labels: {} });
    const container = { snapshotter: "overlayfs", snapshotKey: "rw", labels: {} };
    await store.commit([database.containers("default").put("c1", container)]);
    await collector.collect();
    expect(await snapshotNames()).toEqual(["bottom", "rw"]);
    await store.commit([database.containers("default").delete("c1")]);
    await collector.collect();
    expect(await snapshotNames()).toEqual([]);
  });

  test("keeps what a lease lists until it is deleted or has expired", async () => {
    await leases.create(scope, "l", { "containerd.io/gc.expire": FUTURE });
    const leased = { ...scope, lease: "l" };
    const child = await blob("child");
    const held = await blob("held", { "containerd.io/gc.ref.content.c": child }, leased);
    await snapshots.prepare(leased, { key: "k", parent: "", labels: {} });
    expect(await leases.listResources(scope, "l")).toEqual([
      { type: "content", id: held },
      { type: "snapshots/overlayfs", id: "k" },
    ]);
    await collector.collect();
    expect(await left()).toEqual([child, held].sort());
    expect(await snapshotNames()).toEqual(["k"]);

    await leases.delete(scope, "l");
    await collector.collect();
    expect(await left()).toEqual([]);
    expect(await snapshotNames()).toEqual([]);
    expect(await store.list("lease-resources/default")).toEqual([]);

    await leases.create(scope, "old", { "containerd.io/gc.expire": PAST });
    await blob("expired", {}, { ...scope, lease: "old" });
    expect(await collector.collect()).toMatchObject({ content: 1, leases: 1 });
    expect(await leases.list(scope, [])).toEqual([]);
  });

  test("a flat lease holds a blob and not what it refers to", async () => {
    await leases.create(scope, "l", { "containerd.io/gc.flat": "true" });
    const child = await blob("child");
    const held = await blob("held", { "containerd.io/gc.ref.content.c": child }, { ...scope, lease: "l" });
    await collector.collect();
    expect(await left()).toEqual([held]);
  });

  test("keeps roots, and what says that it belongs to something kept", async () => {
    const rooted = await blob("rooted", { "containerd.io/gc.root": "yes" });
    const owned = await blob("owned", { "containerd.io/gc.bref.content": rooted });
    await blob("owned by nothing", { "containerd.io/gc.bref.image": "absent" });
    await layer("labelled", "", { "containerd.io/gc.root": "yes" });
    await collector.collect();
    expect(await left()).toEqual([owned, rooted].sort());
    expect(await snapshotNames()).toEqual(["labelled"]);
  });

  test("leaves a snapshot alone that was prepared a moment ago, with what it stands on", async () => {
    await using patient = newCollector(60_000);
    await layer("bottom");
    await layer("unused");
    await snapshots.prepare(scope, { key: "working", parent: "bottom", labels: {} });
    await patient.collect();
    expect(await snapshotNames()).toEqual(["bottom", "working"]);
  });

  test("removes expired images", async () => {
    const target = await blob("target");
    await image("old", target, { "containerd.io/gc.expire": PAST });
    await image("new", target, { "containerd.io/gc.expire": FUTURE });
    expect(await collector.collect()).toMatchObject({ images: 1, content: 0 });
    expect((await images.list(scope, [])).map(({ name }) => name)).toEqual(["new"]);
    expect(deleted).toEqual(["image old"]);
  });

  test("keeps a blob that another namespace still has", async () => {
    const other = { namespace: "other" };
    const digest = await blob("shared");
    await blob("shared", { "containerd.io/gc.root": "yes" }, other);
    await collector.collect();
    expect(await left()).toEqual([]);
    expect(await left(other)).toEqual([digest]);
    expect(content.backend.size(digest)).toBe(6);
  });

  test("keeps an ingest that goes on, and the blob another one is about to adopt", async () => {
    const writer = await content.writer(scope, { ref: "slow", total: 100 });
    await writer.write(Buffer.from("half"));
    const elsewhere = await blob("elsewhere", {}, { namespace: "other" });
    const adopting = await content.writer(scope, { ref: "adopt", total: 0, expected: elsewhere });
    await collector.collect();
    expect(await left({ namespace: "other" })).toEqual([]);
    expect((await content.status(scope, "slow")).offset).toBe(4);
    expect(await adopting.commit(0, elsewhere, {})).toEqual({ digest: elsewhere, size: 9 });
    await writer.close();
  });

  test("removes an ingest whose lease is gone", async () => {
    await leases.create(scope, "l", {});
    const writer = await content.writer({ ...scope, lease: "l" }, { ref: "r", total: 0 });
    await writer.write(Buffer.from("half"));
    await writer.close();
    await collector.collect();
    expect(await content.statuses(scope, [])).toHaveLength(1);
    await leases.delete(scope, "l");
    expect(await collector.collect()).toMatchObject({ ingests: 1 });
    expect(content.backend.statuses()).toEqual([]);
  });
});

test("deleting an image has a collection follow by itself", async () => {
  const target = await blob("target");
  await image("img", target);
  await images.delete(scope, "img");
  while (content.backend.size(target) !== undefined) await Bun.sleep(10);
  expect(await left()).toEqual([]);
});
