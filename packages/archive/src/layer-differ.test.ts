import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { lsetxattr } from "@longshore/syscalls";
import { applyLayer } from "./apply-layer.ts";
import { diffTrees, diffUpperDirectory, hasRedirects } from "./layer-differ.ts";
import { TarReader } from "./tar-reader.ts";
import { tarOf } from "./testing.ts";

let dir: string;
const at = (...parts: string[]) => path.join(dir, ...parts);
const isRoot = process.getuid?.() === 0;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "differ-test-"));
  for (const name of ["lower", "upper", "out"]) fs.mkdirSync(at(name));
});
afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

const bytesOf = (pieces: Iterable<Buffer>) => Buffer.concat([...pieces].map((piece) => Buffer.from(piece)));

function namesIn(tar: Buffer): string[] {
  const names: string[] = [];
  const reader = new TarReader({
    entry: ({ name, type, linkName }) => names.push(type === "hardlink" ? `${name} = ${linkName}` : name),
    data() {},
    entryEnd() {},
  });
  reader.feed(tar);
  reader.end();
  return names;
}

function fillLower(): void {
  for (const root of ["lower", "upper"]) {
    fs.mkdirSync(at(root, "d/sub"), { recursive: true });
    for (const name of ["same", "changed", "gone", "d/sub/deep", "d/x"]) {
      fs.writeFileSync(at(root, name), name);
      fs.utimesSync(at(root, name), 1000, 1000);
    }
    fs.symlinkSync("same", at(root, "link"));
    for (const name of ["d/sub", "d"]) fs.utimesSync(at(root, name), 1000, 1000);
  }
}

describe("diffTrees()", () => {
  test("has what was added, changed and removed, and the directories above", () => {
    fillLower();
    fs.writeFileSync(at("upper/changed"), "CHANGED");
    fs.rmSync(at("upper/gone"));
    fs.writeFileSync(at("upper/d/sub/new"), "");
    fs.rmSync(at("upper/d/x"));
    fs.rmSync(at("upper/link"));
    fs.symlinkSync("elsewhere", at("upper/link"));
    expect(namesIn(bytesOf(diffTrees(at("lower"), at("upper"))))).toEqual([
      "changed",
      "d/",
      "d/sub/",
      "d/sub/new",
      "d/.wh.x",
      ".wh.gone",
      "link",
    ]);
    expect(namesIn(bytesOf(diffTrees(at("upper"), at("upper"))))).toEqual([]);
  });

  test("has files that changed but in content, where the time says nothing", () => {
    fillLower();
    fs.writeFileSync(at("upper/changed"), "CHANGED");
    fs.utimesSync(at("upper/changed"), 1000, 1000);
    expect(namesIn(bytesOf(diffTrees(at("lower"), at("upper"))))).toEqual(["changed"]);
  });

  test("applied to the lower tree, it makes the upper one", async () => {
    fillLower();
    const long = `${"n".repeat(150)}/${"m".repeat(150)}`;
    fs.mkdirSync(at("upper", path.dirname(long)));
    fs.writeFileSync(at("upper", long), "long");
    fs.writeFileSync(Buffer.from(`${at("upper")}/caf\xe9`, "latin1"), "not UTF-8");
    fs.writeFileSync(at("upper/big"), Buffer.alloc(700_001, "b"));
    fs.linkSync(at("upper/big"), at("upper/linked"));
    fs.chmodSync(at("upper/same"), 0o4755);
    execFileSync("mkfifo", [at("upper/fifo")]);
    fs.rmSync(at("upper/d"), { recursive: true });
    fs.writeFileSync(at("upper/d"), "a file now");
    const tar = bytesOf(diffTrees(at("lower"), at("upper")));
    expect(namesIn(tar)).toContain("linked = big");
    fs.writeFileSync(at("layer.tar"), tar);
    await applyLayer(at("layer.tar"), "none", at("lower"), { whiteouts: "remove" });
    expect(namesIn(bytesOf(diffTrees(at("lower"), at("upper"))))).toEqual([]);
    expect(fs.statSync(at("lower/linked")).ino).toBe(fs.statSync(at("lower/big")).ino);
    // Another reader agrees that it is a tar.
    expect(execFileSync("tar", ["tf", at("layer.tar")]).toString()).toContain(long);
  });

  test("without a lower tree has everything, and nothing younger than asked for", () => {
    fillLower();
    const tar = bytesOf(diffTrees(undefined, at("lower"), { notAfterSeconds: 5 }));
    expect(namesIn(tar)).toHaveLength(8);
    const times = new Set<bigint>();
    const reader = new TarReader({ entry: ({ mtimeNs }) => times.add(mtimeNs), data() {}, entryEnd() {} });
    reader.feed(tar);
    expect([...times]).toEqual([5_000_000_000n]);
    expect(bytesOf(diffTrees(undefined, at("lower"), { notAfterSeconds: 5 })).equals(tar)).toBe(true);
  });

  test("does not follow links out of the tree", () => {
    fs.writeFileSync(at("secret"), "secret");
    fs.symlinkSync(at("secret"), at("upper/link"));
    fs.symlinkSync("..", at("upper/up"));
    const tar = bytesOf(diffTrees(at("lower"), at("upper")));
    expect(namesIn(tar)).toEqual(["link", "up"]);
    expect(tar.includes("secret\0\0\0")).toBe(true); // the link's target, no content
    // Twice a pax header with its record, and a header; then the end.
    expect(tar.length).toBe((2 * 3 + 2) * 512);
  });
});

describe.if(isRoot)("diffUpperDirectory()", () => {
  test("makes whiteouts of overlayfs' marks, and applying brings them back", async () => {
    const layer = tarOf([
      { name: "a/", type: "5" },
      { name: "a/.wh..wh..opq", content: "" },
      { name: "a/new", content: "new" },
      { name: ".wh.gone", content: "" },
      { name: "null", type: "3", major: 1, minor: 3 },
    ]);
    fs.writeFileSync(at("layer.tar"), layer);
    await applyLayer(at("layer.tar"), "none", at("upper"), { whiteouts: "overlay" });
    const tar = bytesOf(diffUpperDirectory(at("upper")));
    expect(namesIn(tar)).toEqual(["a/", "a/.wh..wh..opq", "a/new", ".wh.gone", "null"]);
    fs.writeFileSync(at("again.tar"), tar);
    await applyLayer(at("again.tar"), "none", at("out"), { whiteouts: "overlay" });
    expect(bytesOf(diffUpperDirectory(at("out"))).equals(tar)).toBe(true);
  });

  test("hasRedirects() sees what a layer can't express", () => {
    fs.mkdirSync(at("upper/d/e"), { recursive: true });
    expect(hasRedirects(at("upper"))).toBe(false);
    lsetxattr(at("upper/d/e"), "trusted.overlay.redirect", Buffer.from("/old"));
    expect(hasRedirects(at("upper"))).toBe(true);
  });
});
