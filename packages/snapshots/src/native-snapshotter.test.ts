import { afterAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { openStore } from "@longshore/store";
import { NativeSnapshotter } from "./native-snapshotter.ts";
import { snapshotterContract } from "./snapshotter-contract.ts";

const base = fs.mkdtempSync(path.join(os.tmpdir(), "native-test-"));
const store = openStore(`sqlite:${base}/meta.db`);
afterAll(async () => {
  await store[Symbol.asyncDispose]();
  fs.rmSync(base, { recursive: true });
});

snapshotterContract("native", () => NativeSnapshotter.open({ root: `${base}/contract`, store }));

test("mounts are what containerd's native snapshotter answers", async () => {
  await using memory = openStore("sqlite::memory:");
  const root = `${base}/mounts`;
  await using snapshotter = await NativeSnapshotter.open({ root, store: memory });
  const bind = (id: number, mode: string) => [
    { type: "bind", source: `${root}/snapshots/${id}`, options: [mode, "rbind"] },
  ];
  expect(await snapshotter.prepare("a", "")).toEqual(bind(1, "rw"));
  await snapshotter.commit("one", "a");
  expect(await snapshotter.view("v1", "one")).toEqual(bind(1, "ro"));
  expect(await snapshotter.prepare("b", "one")).toEqual(bind(3, "rw"));
  expect(await snapshotter.view("v0", "")).toEqual(bind(4, "ro"));
});

test("cleanup() leaves alone what is being copied, and a copy that fails leaves nothing", async () => {
  await using memory = openStore("sqlite::memory:");
  const root = `${base}/copying`;
  await using snapshotter = await NativeSnapshotter.open({ root, store: memory });
  const [mount] = await snapshotter.prepare("a", "");
  for (let i = 0; i < 3000; i++) fs.writeFileSync(`${mount?.source}/${i}`, "");
  await snapshotter.commit("one", "a");
  const making = snapshotter.prepare("b", "one");
  await new Promise((resolve) => setImmediate(resolve));
  expect(fs.existsSync(`${root}/snapshots/2`)).toBe(true);
  await snapshotter.cleanup();
  const [copy] = await making;
  expect(fs.readdirSync(copy?.source ?? "")).toHaveLength(3000);

  fs.rmSync(`${root}/snapshots/1`, { recursive: true });
  expect(snapshotter.prepare("c", "one")).rejects.toThrow("ENOENT");
  await snapshotter.cleanup();
  expect(fs.readdirSync(`${root}/snapshots`)).toEqual(["2"]);
  expect(snapshotter.stat("c")).rejects.toThrow("not found");
});
