import { afterAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { openStore } from "./open-store.ts";
import { storeContract } from "./store-contract.ts";

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "store-test-"));
afterAll(() => fs.rmSync(dir, { recursive: true }));

storeContract("sqlite", async () => openStore(`sqlite:${dir}/sub/contract.db`));

test("an SQLite store opened again has what was committed", async () => {
  const url = `sqlite:${dir}/again.db`;
  {
    await using store = openStore(url);
    await store.commit([{ op: "put", bucket: "b", key: "k", value: "1" }]);
  }
  await using store = openStore(url);
  expect(await store.get("b", "k")).toBe("1");
});

test("an SQLite database is readable by its owner only", async () => {
  await using _ = openStore(`sqlite:${dir}/private.db`);
  expect(fs.statSync(`${dir}/private.db`).mode & 0o777).toBe(0o600);
});

test("openStore() refuses an unknown scheme by name", () => {
  expect(() => openStore("etcd://x")).toThrow("etcd");
});
