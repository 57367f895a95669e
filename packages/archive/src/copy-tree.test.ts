import { afterAll, beforeAll, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { lgetxattr, lsetxattr, mknod, S_IFBLK, S_IFCHR, S_IFIFO } from "@longshore/syscalls";
import { copyTree } from "./copy-tree.ts";

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "copy-tree-"));
const from = path.join(dir, "from");
const to = path.join(dir, "to");
const CAPABILITY = Buffer.from("0000000200040000000000000000000000000000", "hex");

beforeAll(async () => {
  for (const name of ["from", "from/dir", "from/dir/below", "from/shared", "to"])
    fs.mkdirSync(path.join(dir, name));
  fs.writeFileSync(`${from}/dir/file`, "text", { mode: 0o640 });
  fs.linkSync(`${from}/dir/file`, `${from}/hard`);
  fs.chownSync(`${from}/hard`, 1000, 2000);
  fs.symlinkSync("/etc/passwd", `${from}/link`);
  fs.lchownSync(`${from}/link`, 3, 4);
  fs.writeFileSync(`${from}/su`, "");
  fs.chownSync(`${from}/su`, 5, 6);
  fs.chmodSync(`${from}/su`, 0o6755);
  lsetxattr(`${from}/su`, "security.capability", CAPABILITY);
  lsetxattr(`${from}/dir`, "trusted.mark", Buffer.from("m"));
  mknod(`${from}/null`, S_IFCHR | 0o666, 0x103);
  mknod(`${from}/disk`, S_IFBLK | 0o600, 0x801);
  mknod(`${from}/pipe`, S_IFIFO | 0o622);
  fs.utimesSync(`${from}/pipe`, 1, 2);
  fs.writeFileSync(Buffer.from(`${from}/no\xffutf8`, "latin1"), "");
  const sparse = fs.openSync(`${from}/sparse`, "w");
  fs.writeSync(sparse, "begin", 0);
  fs.writeSync(sparse, "middle", 20 << 20);
  fs.ftruncateSync(sparse, 40 << 20);
  fs.closeSync(sparse);
  fs.writeFileSync(`${from}/big`, Buffer.alloc(9 << 20, "0123456789"));
  fs.chmodSync(`${from}/shared`, 0o3777);
  execFileSync("touch", [
    "-d",
    "2001-02-03 04:05:06.123456789",
    `${from}/dir/below`,
    `${from}/hard`,
    `${from}/dir`,
  ]);
  fs.chmodSync(from, 0o711);
  fs.utimesSync(from, 7, 8);
  await copyTree(from, to);
});
afterAll(() => fs.rmSync(dir, { recursive: true }));

/** All that `find` knows of each file, and what is in it. */
function picture(cwd: string): string {
  const what = "%p %y %m %U %G %n %T@ %l\\n";
  const tree = execFileSync("find", [".", "-printf", what], { cwd, encoding: "latin1" });
  const sums = execFileSync("sh", ["-c", "find . -type f -exec md5sum {} +"], { cwd, encoding: "latin1" });
  return [...tree.split("\n").sort(), ...sums.split("\n").sort()].join("\n");
}

test("kinds, owners, modes, times and contents are the same, the directory's own too", () => {
  expect(picture(to)).toBe(picture(from));
  expect(fs.statSync(`${to}/dir/below`, { bigint: true }).mtimeNs % 1_000_000_000n).toBe(123_456_789n);
  for (const name of ["null", "disk"])
    expect(fs.statSync(`${to}/${name}`).rdev).toBe(fs.statSync(`${from}/${name}`).rdev);
  expect(fs.statSync(`${to}/pipe`).atimeMs).toBe(1000);
});

test("hard links stay links, and are none to the original", () => {
  expect(fs.statSync(`${to}/hard`).ino).toBe(fs.statSync(`${to}/dir/file`).ino);
  expect(fs.statSync(`${to}/hard`).ino).not.toBe(fs.statSync(`${from}/hard`).ino);
});

test("extended attributes and capabilities are kept", () => {
  expect(lgetxattr(`${to}/su`, "security.capability")).toEqual(CAPABILITY);
  expect(lgetxattr(`${to}/dir`, "trusted.mark")?.toString()).toBe("m");
  expect(lgetxattr(`${to}/hard`, "trusted.mark")).toBeUndefined();
});

test("holes stay holes", () => {
  expect(fs.statSync(`${to}/sparse`).size).toBe(40 << 20);
  expect(fs.statSync(`${to}/sparse`).blocks * 512).toBeLessThan(1 << 20);
});

test("a default ACL is copied, and changes no file that has none", async () => {
  const [source, target] = [path.join(dir, "acl"), path.join(dir, "acl-copy")];
  fs.mkdirSync(source);
  fs.mkdirSync(target);
  fs.writeFileSync(`${source}/before`, "", { mode: 0o600 });
  // user::rwx user:1000:rwx group::r-x mask::rwx other::---
  const entries = [
    [1, 7, 0xffffffff],
    [2, 7, 1000],
    [4, 5, 0xffffffff],
    [16, 7, 0xffffffff],
    [32, 0, 0xffffffff],
  ];
  const acl = Buffer.alloc(4 + 8 * entries.length);
  acl.writeUInt32LE(2, 0);
  for (const [index, [tag = 0, perm = 0, id = 0]] of entries.entries()) {
    acl.writeUInt16LE(tag, 4 + 8 * index);
    acl.writeUInt16LE(perm, 6 + 8 * index);
    acl.writeUInt32LE(id, 8 + 8 * index);
  }
  lsetxattr(source, "system.posix_acl_default", acl);
  await copyTree(source, target);
  expect(lgetxattr(target, "system.posix_acl_default")).toEqual(acl);
  expect(lgetxattr(`${target}/before`, "system.posix_acl_access")).toBeUndefined();
});

test("a tree deeper than descriptors are kept open is copied", async () => {
  const [source, target] = [path.join(dir, "deep"), path.join(dir, "deep-copy")];
  fs.mkdirSync(path.join(source, "d/".repeat(300)), { recursive: true });
  fs.writeFileSync(path.join(source, "d/".repeat(300), "file"), "deep");
  fs.linkSync(path.join(source, "d/".repeat(300), "file"), path.join(source, "d/first"));
  fs.mkdirSync(target);
  await copyTree(source, target);
  expect(picture(target)).toBe(picture(source));
});

test("other work gets its turn", async () => {
  const [source, target] = [path.join(dir, "many"), path.join(dir, "many-copy")];
  fs.mkdirSync(source);
  fs.mkdirSync(target);
  for (let i = 0; i < 3000; i++) fs.writeFileSync(`${source}/${i}`, "x");
  let turns = 0;
  const ticking = setInterval(() => turns++, 1);
  await copyTree(source, target);
  clearInterval(ticking);
  expect(turns).toBeGreaterThan(2);
  expect(fs.readdirSync(target)).toHaveLength(3000);
});
