import { expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { treeUsage } from "./tree-usage.ts";

test("treeUsage() counts each file once, and follows no link", async () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "tree-usage-"));
  try {
    fs.mkdirSync(path.join(dir, "a/b"), { recursive: true });
    fs.writeFileSync(path.join(dir, "a/b/file"), Buffer.alloc(10_000));
    fs.linkSync(path.join(dir, "a/b/file"), path.join(dir, "hard"));
    fs.symlinkSync("/", path.join(dir, "host"));
    const { inodes, contentBytes, diskBytes } = await treeUsage(dir);
    expect({ inodes, contentBytes }).toEqual({ inodes: 5, contentBytes: 10_001 });
    const blocks = ["", "a", "a/b", "hard", "host"].map((name) => fs.lstatSync(path.join(dir, name)).blocks);
    expect(diskBytes).toBe(512 * blocks.reduce((a, b) => a + b));
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});
