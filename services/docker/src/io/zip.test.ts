import { expect, test } from "bun:test";
import zlib from "node:zlib";
import { makeZip } from "../../test/zip-maker.ts";
import { isZip, zipEntries } from "./zip.ts";

const entries = [
  { name: "tls/", content: "", mode: 0o40755 },
  { name: "stored", content: "as it is" },
  { name: "deflated", content: "x".repeat(10_000), deflate: true },
  { name: "link", content: "elsewhere", mode: 0o120777 },
  { name: "dos", content: "no mode", mode: 0 },
];
const zip = makeZip(entries);

test("zipEntries() has what was stored or deflated, and which are files, also beyond a comment", () => {
  const commented = Buffer.concat([zip, Buffer.from("comment")]);
  for (const archive of [zip, commented]) {
    expect(isZip(archive)).toBe(true);
    const found = zipEntries(archive);
    expect(found.map(({ name, isFile }) => [name, isFile])).toEqual([
      ["tls/", false],
      ["stored", true],
      ["deflated", true],
      ["link", false],
      ["dos", true],
    ]);
    expect(found.map((entry) => entry.content(10_000).toString())).toEqual(entries.map((one) => one.content));
  }
});

test("what is too long, damaged, encrypted or no archive is refused", () => {
  const contents = (archive: Buffer, limit = 10_000) => zipEntries(archive).map((one) => one.content(limit));
  expect(() => contents(zip, 9_999)).toThrow("read exceeds the defined limit");
  expect(() => contents(zip, 7)).toThrow("read exceeds the defined limit");
  const changed = Buffer.from(zip);
  changed.write("AS", changed.indexOf("as it is"));
  expect(() => contents(changed)).toThrow("zip: stored: checksum error");
  const packed = zlib.deflateRawSync("x".repeat(10_000));
  const broken = Buffer.from(zip);
  broken.fill(0xff, broken.indexOf(packed), broken.indexOf(packed) + packed.length);
  expect(() => contents(broken)).toThrow("zip: deflated: checksum error");
  const central = zip.indexOf("PK\x01\x02", 0, "latin1");
  const encrypted = Buffer.from(zip);
  encrypted.writeUInt16LE(1, central + 8);
  expect(() => contents(encrypted)).toThrow("encrypted");
  const other = Buffer.from(zip);
  other.writeUInt16LE(12, central + 10);
  expect(() => contents(other)).toThrow("unsupported compression");
  for (const length of [4, 40, central + 10, zip.length - 1])
    expect(() => contents(zip.subarray(0, length))).toThrow("not a valid zip file");
  const far = Buffer.from(zip);
  far.writeUInt32LE(0xfffffff0, zip.length - 6);
  expect(() => contents(far)).toThrow("not a valid zip file");
  for (const place of [1, zip.length - 5, 0xfffffff0]) {
    const misplaced = Buffer.from(zip);
    misplaced.writeUInt32LE(place, central + 42);
    expect(() => contents(misplaced)).toThrow("not a valid zip file");
  }
  expect(isZip(Buffer.from("PK"))).toBe(false);
});
