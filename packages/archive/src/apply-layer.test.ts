import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import zlib from "node:zlib";
import { digestOf } from "@longshore/digest";
import { mknod, S_IFCHR } from "@longshore/syscalls";
import { applyLayer } from "./apply-layer.ts";
import { type Compression, compressionOf, detectCompression } from "./decompress.ts";
import { DEFAULT_SIZE_LIMITS, type SizeLimits } from "./size-limits.ts";
import { paxHeader, paxRecord, tarBlocks, tarOf } from "./testing.ts";

let dir: string;
let root: string;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "archive-test-"));
  root = path.join(dir, "root");
  fs.mkdirSync(root);
});
afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

async function apply(
  tar: Buffer,
  whiteouts: "remove" | "overlay" = "remove",
  lowers: string[] | "later" = [],
) {
  const file = path.join(dir, "layer.tar");
  fs.writeFileSync(file, tar);
  return applyLayer(file, "none", root, { whiteouts, lowers });
}
const at = (name: string) => path.join(root, name);
const isRoot = process.getuid?.() === 0;

describe("applyLayer()", () => {
  test("makes files, directories and links with their metadata", async () => {
    const tar = tarOf([
      { name: "./", type: "5", mode: 0o755 },
      { name: "bin/", type: "5", mode: 0o751, mtime: 1000 },
      { name: "bin/sh", content: "#!", mode: 0o4755, mtime: 2000 },
      { name: "bin/ash", type: "1", linkName: "bin/sh" },
      { name: "bin/link", type: "2", linkName: "/bin/sh", mtime: 3000 },
      { name: "bin/fifo", type: "6", mode: 0o620 },
    ]);
    const applied = await apply(tar);
    expect(applied).toEqual({ digest: digestOf(tar), size: tar.length });
    expect(fs.statSync(at("bin")).mode & 0o7777).toBe(0o751);
    expect(fs.statSync(at("bin")).mtimeMs).toBe(1_000_000);
    expect(fs.readFileSync(at("bin/sh"), "utf8")).toBe("#!");
    expect(fs.statSync(at("bin/sh")).mode & 0o7777).toBe(0o4755);
    expect(fs.statSync(at("bin/sh")).mtimeMs).toBe(2_000_000);
    expect(fs.statSync(at("bin/ash")).ino).toBe(fs.statSync(at("bin/sh")).ino);
    expect(fs.readlinkSync(at("bin/link"))).toBe("/bin/sh");
    expect(fs.lstatSync(at("bin/link")).mtimeMs).toBe(3_000_000);
    expect(fs.statSync(at("bin/fifo")).isFIFO()).toBe(true);
    expect(fs.statSync(at("bin/fifo")).mode & 0o777).toBe(0o620);
  });

  test("makes missing parents, and replaces files, not directories", async () => {
    await apply(tarOf([{ name: "a/b/c", content: "1" }]));
    fs.writeFileSync(at("a/b/other"), "");
    await apply(
      tarOf([
        { name: "a/b/c", content: "two" },
        { name: "a/b/", type: "5", mode: 0o700 },
      ]),
    );
    expect(fs.readFileSync(at("a/b/c"), "utf8")).toBe("two");
    expect(fs.existsSync(at("a/b/other"))).toBe(true);
    expect(fs.statSync(at("a/b")).mode & 0o777).toBe(0o700);
    await apply(tarOf([{ name: "a/b", content: "a file now" }]));
    expect(fs.statSync(at("a/b")).isFile()).toBe(true);
  });

  test("reads pax names, times and attributes, GNU long names, and names that are no UTF-8", async () => {
    const long = `${"d".repeat(120)}/${"f".repeat(120)}`;
    const tar = Buffer.concat([
      paxHeader({ path: `pax/${long}`, mtime: "1234.567890123" }),
      tarBlocks({ name: "short", content: "p" }),
      tarBlocks({ name: "././@LongLink", type: "L", content: `gnu/${long}\0` }),
      tarBlocks({ name: "short", content: "g" }),
      paxHeader({ "SCHILY.xattr.user.note": "hi\nthere" }),
      tarBlocks({ name: "noted", content: "n" }),
      tarBlocks({ name: "caf\xe9", content: "latin1" }),
      Buffer.alloc(1024),
    ]);
    await apply(tar);
    expect(fs.readFileSync(at(`pax/${long}`), "utf8")).toBe("p");
    expect(fs.statSync(at(`pax/${long}`), { bigint: true }).mtimeNs).toBe(1234_567_890_123n);
    expect(fs.readFileSync(at(`gnu/${long}`), "utf8")).toBe("g");
    const latin1 = Buffer.concat([Buffer.from(`${root}/`), Buffer.from("caf\xe9", "latin1")]);
    expect(fs.readFileSync(latin1, "utf8")).toBe("latin1");
  });

  test("removes what whiteouts name, but not what the same layer brings", async () => {
    await apply(
      tarOf([
        { name: "d/old", content: "" },
        { name: "e/old", content: "" },
        { name: "f", content: "" },
      ]),
    );
    await apply(
      tarOf([
        { name: "d/new", content: "" },
        { name: "d/.wh..wh..opq", content: "" },
        { name: "e/.wh.old", content: "" },
        { name: ".wh.f", content: "" },
        { name: "g", content: "" },
        { name: ".wh.g", content: "" },
        { name: ".wh.absent", content: "" },
        { name: ".wh..wh.plnk", content: "" },
      ]),
    );
    expect(fs.readdirSync(at("d"))).toEqual(["new"]);
    expect(fs.readdirSync(at("e"))).toEqual([]);
    expect(fs.readdirSync(root).sort()).toEqual(["d", "e", "g"]);
  });

  test.if(isRoot)("keeps whiteouts for overlayfs", async () => {
    const lower = path.join(dir, "lower");
    fs.mkdirSync(path.join(lower, "dir/deep"), { recursive: true });
    fs.chmodSync(path.join(lower, "dir"), 0o2711);
    fs.chownSync(path.join(lower, "dir"), 12, 34);
    await apply(
      tarOf([
        { name: "dir/.wh.gone", content: "" },
        { name: "dir/deep/.wh..wh..opq", content: "" },
        { name: ".wh.swapped", content: "" },
        { name: "swapped/", type: "5" },
        { name: "swapped/x", content: "" },
      ]),
      "overlay",
      [lower],
    );
    const gone = fs.lstatSync(at("dir/gone"));
    expect([gone.isCharacterDevice(), gone.rdev]).toEqual([true, 0]);
    expect(fs.statSync(at("dir")).mode & 0o7777).toBe(0o2711);
    expect([fs.statSync(at("dir")).uid, fs.statSync(at("dir")).gid]).toEqual([12, 34]);
    expect(xattr("dir/deep", "trusted.overlay.opaque")).toBe("y");
    expect(xattr("swapped", "trusted.overlay.opaque")).toBe("y");
    expect(fs.existsSync(at("swapped/x"))).toBe(true);
  });

  test.if(isRoot)("takes the file of a lower directory along to which it has a hard link", async () => {
    const [top, bottom] = [path.join(dir, "top"), path.join(dir, "bottom")];
    for (const lower of [top, bottom]) fs.mkdirSync(path.join(lower, "dir"), { recursive: true });
    fs.writeFileSync(path.join(bottom, "dir/file"), "from below", { mode: 0o640 });
    fs.chownSync(path.join(bottom, "dir/file"), 12, 34);
    fs.utimesSync(path.join(bottom, "dir/file"), 1000, 2000);
    fs.writeFileSync(path.join(bottom, "dir/gone"), "");
    mknod(path.join(top, "dir/gone"), S_IFCHR, 0);
    const link = (linkName: string) => tarOf([{ name: "other/link", type: "1", linkName }]);
    await apply(link("dir/file"), "overlay", [top, bottom]);
    expect(fs.readFileSync(at("other/link"), "utf8")).toBe("from below");
    const { ino, mode, uid, gid, mtimeMs, nlink } = fs.statSync(at("dir/file"));
    expect([mode & 0o777, uid, gid, mtimeMs, nlink]).toEqual([0o640, 12, 34, 2_000_000, 2]);
    expect(fs.statSync(at("other/link")).ino).toBe(ino);
    const invalid = expect.objectContaining({ code: "invalid_argument" });
    for (const missing of ["dir/gone", "dir", "absent", "absent/file", ""]) {
      await expect(apply(link(missing), "overlay", [top, bottom])).rejects.toEqual(invalid);
    }
    await apply(
      tarOf([
        { name: "dir/.wh.file", content: "" },
        { name: "dir/", type: "5" },
      ]),
      "overlay",
      [top, bottom],
    );
    await expect(apply(link("dir/file"), "overlay", [top, bottom])).rejects.toEqual(invalid);
  });

  test.if(isRoot)("is unpacked without the layers below, unless it needs them", async () => {
    await apply(
      tarOf([
        { name: "./", type: "5" },
        { name: "d/", type: "5", mode: 0o700 },
        { name: "d/.wh.old", content: "" },
        { name: "d/new", content: "x" },
        { name: "d/link", type: "1", linkName: "d/new" },
        { name: ".wh.f", content: "" },
      ]),
      "overlay",
      "later",
    );
    expect(fs.lstatSync(at("d/old")).isCharacterDevice()).toBe(true);
    expect(fs.statSync(at("d/link")).nlink).toBe(2);
    const refused = expect.objectContaining({ code: "failed_precondition" });
    for (const entry of [
      { name: "tmp/x", content: "" },
      { name: "tmp/.wh.x", content: "" },
      { name: "tmp/.wh..wh..opq", content: "" },
      { name: "link", type: "1", linkName: "below" },
      { name: "link", type: "1", linkName: "d/old" },
    ]) {
      await expect(apply(tarOf([entry]), "overlay", "later")).rejects.toEqual(refused);
    }
  });

  test.if(isRoot)("makes devices and sets owners", async () => {
    await apply(
      tarOf([
        { name: "null", type: "3", major: 1, minor: 3, mode: 0o666 },
        { name: "disk", type: "4", major: 8, minor: 300 },
        { name: "owned", content: "", uid: 1234, gid: 0o7777777 },
      ]),
    );
    expect(fs.statSync(at("null")).rdev).toBe((1 << 8) | 3);
    expect(fs.statSync(at("disk")).isBlockDevice()).toBe(true);
    expect(fs.statSync(at("owned"))).toMatchObject({ uid: 1234, gid: 0o7777777 });
  });

  test("does without end blocks and the last padding", async () => {
    const whole = tarBlocks({ name: "last", content: "x" });
    await apply(whole);
    await apply(whole.subarray(0, 513));
    expect(fs.readFileSync(at("last"), "utf8")).toBe("x");
    await expect(apply(whole.subarray(0, 512))).rejects.toThrow("unexpected EOF");
  });

  test("decompresses what the bytes say when the type does not", async () => {
    const tar = tarOf([{ name: "a", content: "x" }]);
    for (const bytes of [tar, zlib.gzipSync(tar), zlib.zstdCompressSync(tar)]) {
      fs.writeFileSync(path.join(dir, "blob"), bytes);
      const applied = await applyLayer(path.join(dir, "blob"), "detect", root, { whiteouts: "remove" });
      expect(applied.digest).toBe(digestOf(tar));
    }
  });

  test("decompresses gzip and zstd, small and large, members joined", async () => {
    const small = tarOf([{ name: "a", content: "small" }]);
    const large = tarOf([{ name: "a", content: "large".repeat(10_000_000) }]);
    const run = (bytes: Buffer, compression: "gzip" | "zstd") => {
      fs.writeFileSync(path.join(dir, "blob"), bytes);
      expect(detectCompression(bytes)).toBe(compression);
      return applyLayer(path.join(dir, "blob"), compression, root, { whiteouts: "remove" });
    };
    for (const tar of [small, large]) {
      expect((await run(zlib.gzipSync(tar, { level: 1 }), "gzip")).digest).toBe(digestOf(tar));
      expect((await run(zlib.zstdCompressSync(tar), "zstd")).digest).toBe(digestOf(tar));
    }
    const members = [small.subarray(0, 700), small.subarray(700)].map((part) => zlib.gzipSync(part));
    expect((await run(Buffer.concat(members), "gzip")).digest).toBe(digestOf(small));
    const broken = zlib.gzipSync(small).fill(0xff, 30, 40);
    expect(run(broken, "gzip")).rejects.toEqual(expect.objectContaining({ code: "invalid_argument" }));
  });
});

describe("a hostile layer", () => {
  let outside: string;
  beforeEach(() => {
    outside = path.join(dir, "outside");
    fs.mkdirSync(outside);
    fs.writeFileSync(path.join(outside, "secret"), "secret");
  });
  afterEach(() => {
    expect(fs.readdirSync(outside)).toEqual(["secret"]);
    expect(fs.readFileSync(path.join(outside, "secret"), "utf8")).toBe("secret");
    expect(fs.statSync(path.join(outside, "secret")).nlink).toBe(1);
    expect(fs.readdirSync(dir).sort()).toEqual(["layer.tar", "outside", "root"]);
  });

  test("can't leave by .. or an absolute name", async () => {
    await apply(
      tarOf([
        { name: "../../outside/x", content: "x" },
        { name: "/abs", content: "x" },
        { name: "a/../../b", content: "x" },
      ]),
    );
    expect(fs.existsSync(at("outside/x"))).toBe(true);
    expect(fs.readdirSync(root).sort()).toEqual(["abs", "b", "outside"]);
  });

  test("can't write through a link it makes", async () => {
    await apply(
      tarOf([
        { name: "up", type: "2", linkName: "../outside" },
        { name: "up/x", content: "x" },
        { name: "abs", type: "2", linkName: outside },
        { name: "abs/y", content: "y" },
        { name: "file", type: "2", linkName: path.join(outside, "secret") },
        { name: "file", content: "overwritten" },
        { name: "loop", type: "2", linkName: "loop" },
        { name: "chain1", type: "2", linkName: "chain2/../.." },
        { name: "chain2", type: "2", linkName: "/" },
        { name: "chain1/z", content: "z" },
      ]),
    );
    expect(fs.readFileSync(at("outside/x"), "utf8")).toBe("x");
    expect(fs.readFileSync(path.join(root, outside, "y"), "utf8")).toBe("y");
    expect(fs.readFileSync(at("file"), "utf8")).toBe("overwritten");
    expect(fs.readFileSync(at("z"), "utf8")).toBe("z");
    expect(apply(tarOf([{ name: "loop/x", content: "" }]))).rejects.toEqual(
      expect.objectContaining({ code: "ELOOP" }),
    );
  });

  test("can't hard-link, chmod, chown or delete what is outside", async () => {
    const before = fs.statSync(path.join(outside, "secret"));
    await apply(
      tarOf([
        { name: "up", type: "2", linkName: outside },
        { name: "up/", type: "5", mode: 0o777, uid: 99 },
        { name: "link", type: "2", linkName: path.join(outside, "secret"), mode: 0o777, uid: 99 },
        { name: "hard", type: "1", linkName: "link" },
      ]),
    );
    expect(fs.lstatSync(at("hard")).isSymbolicLink()).toBe(true);
    const linked = tarOf([
      { name: "dir", type: "2", linkName: outside },
      { name: "stolen", type: "1", linkName: "dir/secret" },
    ]);
    expect(apply(linked)).rejects.toThrow();
    expect(apply(tarOf([{ name: "stolen", type: "1", linkName: "../outside/secret" }]))).rejects.toThrow();
    await apply(
      tarOf([
        { name: "out", type: "2", linkName: outside },
        { name: "out/.wh.secret", content: "" },
      ]),
    );
    await apply(
      tarOf([
        { name: "out2", type: "2", linkName: outside },
        { name: "out2/.wh..wh..opq", content: "" },
      ]),
    );
    const after = fs.statSync(path.join(outside, "secret"));
    expect([after.mode, after.uid]).toEqual([before.mode, before.uid]);
  });

  test.if(isRoot)("can't steer overlayfs by attributes", async () => {
    const header = paxHeader({
      "SCHILY.xattr.trusted.overlay.redirect": "/x",
      "SCHILY.xattr.trusted.mine": "y",
    });
    await apply(Buffer.concat([header, tarOf([{ name: "d/", type: "5" }])]), "overlay");
    expect(xattr("d", "trusted.overlay.redirect")).toBeUndefined();
    expect(xattr("d", "trusted.mine")).toBe("y");
  });

  test.each([".wh.", ".wh..", ".wh...", "a/.wh...", "d/.wh.."])(
    "can't use %p as a whiteout",
    async (name) => {
      expect(apply(tarOf([{ name, content: "" }]))).rejects.toEqual(
        expect.objectContaining({ code: "invalid_argument" }),
      );
    },
  );

  test("is refused when it unpacks to too much", async () => {
    const tar = tarOf([{ name: "zeros", content: "\0".repeat(3_000_000) }]);
    const exhausted = (message: string) =>
      expect.objectContaining({ code: "resource_exhausted", message: expect.stringContaining(message) });
    const run = (bytes: Buffer, compression: Compression, limits: Partial<SizeLimits>) => {
      fs.writeFileSync(path.join(dir, "layer.tar"), bytes);
      return applyLayer(path.join(dir, "layer.tar"), compression, root, {
        whiteouts: "remove",
        limits: { ...DEFAULT_SIZE_LIMITS, ...limits },
      });
    };
    const gzip = zlib.gzipSync(tar);
    await expect(run(gzip, "gzip", { maxBytes: 2_000_000 })).rejects.toEqual(
      exhausted("the layer unpacks to more than 2000000 bytes, the limit here"),
    );
    await expect(run(tar, "none", { maxBytes: 2_000_000 })).rejects.toEqual(exhausted("2000000 bytes"));
    const ratio = { freeBytes: 1_000_000, maxRatio: 100 };
    await expect(run(gzip, "gzip", ratio)).rejects.toEqual(
      exhausted(`the layer of ${gzip.length} bytes unpacks to more than 100 times its size, the limit here`),
    );
    await expect(run(zlib.zstdCompressSync(tar), "zstd", ratio)).rejects.toEqual(exhausted("100 times"));
    expect((await run(gzip, "gzip", {})).size).toBe(tar.length);
    expect((await run(gzip, "gzip", { ...ratio, freeBytes: 4_000_000 })).size).toBe(tar.length);
    expect((await run(tar, "none", ratio)).size).toBe(tar.length);
  });

  test("is refused when its metadata have no end", async () => {
    const invalid = (message: string) =>
      expect.objectContaining({ code: "invalid_argument", message: expect.stringContaining(message) });
    const good = tarOf([{ name: "a", content: "x" }]);
    const globals = Array.from({ length: 40 }, (_, i) =>
      tarBlocks({ name: "g", type: "g", content: paxRecord(`comment${i}`, "x".repeat(50_000)) }),
    );
    await expect(apply(Buffer.concat([...globals, good]))).rejects.toEqual(invalid("global header fields"));
    await apply(Buffer.concat([...globals.slice(0, 10), good]));
    const long = `${"d/".repeat(2047)}ff`;
    await expect(apply(Buffer.concat([paxHeader({ path: long }), good]))).rejects.toEqual(
      invalid("a name of more than 4095 bytes"),
    );
    const link = tarOf([{ name: "link", type: "2" }]);
    await expect(apply(Buffer.concat([paxHeader({ linkpath: long }), link]))).rejects.toEqual(
      invalid("a name of more than 4095 bytes"),
    );
    await expect(
      apply(Buffer.concat([tarBlocks({ name: "l", type: "L", content: `${long}\0` }), good])),
    ).rejects.toEqual(invalid("a name of more than 4095 bytes"));
    // A map of a sparse file without a line end, and one of a million parts that never come.
    const sparse = paxHeader({
      "GNU.sparse.major": "1",
      "GNU.sparse.minor": "0",
      "GNU.sparse.realsize": "9",
      "GNU.sparse.name": "s",
    });
    const file = (content: string) => tarOf([{ name: "s", content }]);
    await expect(apply(Buffer.concat([sparse, file("1".repeat(5000))]))).rejects.toEqual(invalid("sparse"));
    const began = performance.now();
    const parts = `1000000\n${"0\n".repeat(1_900_000)}`;
    await expect(apply(Buffer.concat([sparse, file(parts)]))).rejects.toEqual(invalid("sparse"));
    expect(performance.now() - began).toBeLessThan(10_000);
  });

  test("is refused when it is no tar, ends early or lies about lengths", async () => {
    const good = tarOf([{ name: "a", content: "x".repeat(2000) }]);
    const invalid = expect.objectContaining({ code: "invalid_argument" });
    expect(apply(good.subarray(0, 1500))).rejects.toEqual(invalid);
    expect(apply(good.subarray(0, 100))).rejects.toEqual(invalid);
    expect(apply(Buffer.alloc(1024, "rubbish!"))).rejects.toEqual(invalid);
    for (const record of ["999999 path=x\n", "0 a=b\n", "12 path\n123456\n", "5 =bc\n", "x"]) {
      expect(
        apply(Buffer.concat([tarBlocks({ name: "p", type: "x", content: record }), good])),
      ).rejects.toEqual(invalid);
    }
    const huge = tarBlocks({ name: "p", type: "x", content: "", size: 2 ** 31 });
    expect(apply(Buffer.concat([huge, good]))).rejects.toEqual(invalid);
    const sparse = (records: Record<string, string>) =>
      apply(Buffer.concat([paxHeader({ "GNU.sparse.size": "9", ...records }), good]));
    expect(sparse({ "GNU.sparse.major": "2", "GNU.sparse.minor": "0" })).rejects.toThrow("sparse");
    for (const map of ["0,99", "8,2", "4,1,2,1", "0", "0,x", "0,1"]) {
      expect(sparse({ "GNU.sparse.map": map })).rejects.toEqual(invalid);
    }
    expect(apply(tarOf([{ name: "nul", type: "Z", content: "" }]))).rejects.toThrow(
      "unhandled tar header type",
    );
  });
});

test("compressionOf() knows OCI's and Docker's layer types and no others", () => {
  const types = {
    "application/vnd.oci.image.layer.v1.tar": "none",
    "application/vnd.oci.image.layer.v1.tar+gzip": "gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd": "zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": "gzip",
    "application/vnd.docker.image.rootfs.diff.tar": "detect",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "detect",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": "detect",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": "detect",
  } as const;
  for (const [type, compression] of Object.entries(types)) expect(compressionOf(type)).toBe(compression);
  for (const type of ["", "tar", "application/json", "application/vnd.oci.image.manifest.v1+json"]) {
    expect(() => compressionOf(type)).toThrow("no processor for media-type");
  }
});

function xattr(name: string, attribute: string): string | undefined {
  const { lgetxattr } = require("@longshore/syscalls") as typeof import("@longshore/syscalls");
  return lgetxattr(at(name), attribute)?.toString();
}
