import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { upperChanges } from "./upper-changes.ts";

const isRoot = process.getuid?.() === 0;

function tree(root: string, files: Record<string, string>): string {
  for (const [name, content] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    if (name.endsWith("/")) fs.mkdirSync(path.join(root, name), { recursive: true });
    else fs.writeFileSync(path.join(root, name), content);
  }
  return root;
}

test.skipIf(!isRoot)(
  "upperChanges() tells new, changed and deleted paths apart, through all layers",
  async () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), "upper-changes-"));
    try {
      const bottom = tree(path.join(dir, "bottom"), {
        "etc/a": "",
        "etc/b": "",
        "opt/x": "",
        "srv/sub/f": "",
      });
      const middle = tree(path.join(dir, "middle"), { "etc/c": "" });
      const upper = tree(path.join(dir, "upper"), {
        "etc/c": "changed",
        "etc/new": "",
        "home/u/f": "",
        "srv/sub/f": "mine",
        "opt/y": "",
      });
      // `b` was deleted in the middle layer and is made anew in the upper one; `opt` was replaced by another directory.
      expect(spawnSync("mknod", [path.join(middle, "etc/b"), "c", "0", "0"]).status).toBe(0);
      fs.writeFileSync(path.join(upper, "etc/b"), "");
      expect(spawnSync("mknod", [path.join(upper, "etc/a"), "c", "0", "0"]).status).toBe(0);
      fs.symlinkSync("/", path.join(upper, "etc/link"));

      const found = await upperChanges(upper, [middle, bottom]);
      const changes = found.map(({ path, kind }) => `${kind} ${path}`);
      expect(changes).toEqual([
        "modified etc",
        "deleted etc/a",
        "added etc/b",
        "modified etc/c",
        "added etc/link",
        "added etc/new",
        "added home",
        "added home/u",
        "added home/u/f",
        "modified opt",
        "added opt/y",
        "modified srv",
        "modified srv/sub",
        "modified srv/sub/f",
      ]);
    } finally {
      fs.rmSync(dir, { recursive: true });
    }
  },
);

test("upperChanges() lets timers run while it walks a large tree", async () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "upper-changes-"));
  try {
    for (let n = 0; n < 20_000; n++) fs.writeFileSync(path.join(dir, String(n)), "");
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    expect(await upperChanges(dir, [])).toHaveLength(20_000);
    clearInterval(timer);
    expect(turns).toBeGreaterThan(2);
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});
