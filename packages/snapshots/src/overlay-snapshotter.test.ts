import { afterAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { openStore } from "@longshore/store";
import { OverlaySnapshotter } from "./overlay-snapshotter.ts";
import { snapshotterContract } from "./snapshotter-contract.ts";

const base = fs.mkdtempSync(path.join(os.tmpdir(), "snapshots-test-"));
const store = openStore(`sqlite:${base}/meta.db`);
afterAll(async () => {
  await store[Symbol.asyncDispose]();
  fs.rmSync(base, { recursive: true });
});

snapshotterContract("overlayfs", () => OverlaySnapshotter.open({ root: `${base}/contract`, store }));

test("mounts are what containerd's overlayfs snapshotter answers", async () => {
  await using memory = openStore("sqlite::memory:");
  const root = `${base}/mounts`;
  await using snapshotter = await OverlaySnapshotter.open({ root, store: memory });
  const fsOf = (id: number) => `${root}/snapshots/${id}/fs`;
  const index = fs.existsSync("/sys/module/overlay/parameters/index") ? ["index=off"] : [];

  expect(await snapshotter.prepare("a", "")).toEqual([
    { type: "bind", source: fsOf(1), options: ["rw", "rbind"] },
  ]);
  await snapshotter.commit("one", "a");
  expect(await snapshotter.view("v1", "one")).toEqual([
    { type: "bind", source: fsOf(1), options: ["ro", "rbind"] },
  ]);
  expect(await snapshotter.prepare("b", "one")).toEqual([
    {
      type: "overlay",
      source: "overlay",
      options: [`workdir=${root}/snapshots/3/work`, `upperdir=${fsOf(3)}`, `lowerdir=${fsOf(1)}`, ...index],
    },
  ]);
  await snapshotter.commit("two", "b");
  expect(await snapshotter.view("v2", "two")).toEqual([
    { type: "overlay", source: "overlay", options: [`lowerdir=${fsOf(3)}:${fsOf(1)}`, ...index] },
  ]);
  expect(await snapshotter.view("v0", "")).toEqual([
    { type: "bind", source: fsOf(5), options: ["ro", "rbind"] },
  ]);
});

test("what was prepared on nothing is committed upon a parent, whose root's owner it takes", async () => {
  await using memory = openStore("sqlite::memory:");
  const root = `${base}/rebase`;
  await using snapshotter = await OverlaySnapshotter.open({ root, store: memory });
  const fsOf = (id: number) => `${root}/snapshots/${id}/fs`;
  await snapshotter.prepare("below", "");
  await snapshotter.prepare("above", "");
  const early = snapshotter.commit("two", "above", { parent: "one" });
  expect(early).rejects.toEqual(expect.objectContaining({ code: "not_found" }));
  if (process.getuid?.() === 0) fs.chownSync(fsOf(1), 12, 34);
  await snapshotter.commit("one", "below");
  await snapshotter.commit("two", "above", { parent: "one" });
  expect(await snapshotter.stat("two")).toMatchObject({ kind: "committed", parent: "one" });
  expect(snapshotter.remove("one")).rejects.toEqual(expect.objectContaining({ code: "failed_precondition" }));
  const { uid, gid } = fs.statSync(fsOf(1));
  expect(fs.statSync(fsOf(2))).toMatchObject({ uid, gid });
  const [mount] = await snapshotter.view("v", "two");
  expect(mount?.options).toContain(`lowerdir=${fsOf(2)}:${fsOf(1)}`);
  await snapshotter.prepare("c", "one");
  expect(snapshotter.commit("three", "c", { parent: "two" })).rejects.toThrow("cannot change parent");
});

test("cleanup() removes directories without a record and no others", async () => {
  await using memory = openStore("sqlite::memory:");
  const root = `${base}/cleanup`;
  await using snapshotter = await OverlaySnapshotter.open({ root, store: memory });
  await snapshotter.prepare("a", "");
  fs.mkdirSync(`${root}/snapshots/77/fs`, { recursive: true });
  fs.mkdirSync(`${root}/snapshots/new-123`, { recursive: true });
  await snapshotter.cleanup();
  expect(fs.readdirSync(`${root}/snapshots`)).toEqual(["1"]);
});

test("a directory's number is not used again after a crash", async () => {
  await using memory = openStore("sqlite::memory:");
  const root = `${base}/ids`;
  fs.mkdirSync(`${root}/snapshots/41/fs`, { recursive: true });
  await using snapshotter = await OverlaySnapshotter.open({ root, store: memory });
  const [mount] = await snapshotter.prepare("a", "");
  expect(mount?.source).toBe(`${root}/snapshots/42/fs`);
});

test("a snapshot whose record can't be written leaves no directory", async () => {
  const root = `${base}/failing`;
  await using memory = openStore("sqlite::memory:");
  const failing = { ...memory, commit: () => Promise.reject(new Error("disk full")) };
  const snapshotter = await OverlaySnapshotter.open({ root, store: failing });
  expect(snapshotter.prepare("a", "")).rejects.toThrow("disk full");
  await snapshotter.cleanup();
  expect(fs.readdirSync(`${root}/snapshots`)).toEqual([]);
});
