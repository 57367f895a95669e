import { afterAll, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { mknod, S_IFIFO } from "@longshore/syscalls";
import { appendRegularFile, readRegularFile, writeRegularFile } from "./regular-file.ts";

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "regular-file-"));
afterAll(() => fs.rmSync(dir, { recursive: true }));
const file = path.join(dir, "file");

test("writeRegularFile() and appendRegularFile() write in place", () => {
  expect(() => writeRegularFile(file, "x", { make: false })).toThrow("ENOENT");
  writeRegularFile(file, "a long text\n", { make: true, owner: { uid: 3, gid: 4 } });
  const { ino } = fs.statSync(file);
  writeRegularFile(file, "text\n", { make: true });
  appendRegularFile(file, "more\n");
  expect(fs.readFileSync(file, "utf8")).toBe("text\nmore\n");
  expect(fs.statSync(file)).toMatchObject({ ino, uid: 3, gid: 4 });
});

test("readRegularFile() reads no more than the limit, and nothing but a regular file", () => {
  fs.writeFileSync(file, "1234");
  expect(readRegularFile(file, 4)?.toString()).toBe("1234");
  expect(readRegularFile(file, 3)).toBeUndefined();
  fs.truncateSync(file, 400e6);
  expect(readRegularFile(file, 1 << 20)).toBeUndefined();
  const fifo = path.join(dir, "fifo");
  mknod(fifo, S_IFIFO | 0o600);
  fs.symlinkSync(file, path.join(dir, "link"));
  expect(() => readRegularFile(fifo, 10)).toThrow("EINVAL");
  expect(() => readRegularFile(path.join(dir, "link"), 10)).toThrow("ELOOP");
  expect(() => writeRegularFile(fifo, "x", { make: true })).toThrow("ENXIO"); // nobody reads it
});

test("neither reading nor writing waits for a process that holds a lease", async () => {
  fs.writeFileSync(file, "x");
  // 1024: F_SETLEASE, 1: F_WRLCK.
  const program = `use Fcntl; $SIG{IO} = "IGNORE"; open(my $f, "+<", $ARGV[0]) or die; fcntl($f, 1024, 1) or die "lease: $!";
    $| = 1; print "on\\n"; sleep 100`;
  const child = spawn("perl", ["-e", program, file], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    await new Promise((resolve) => child.stdout.once("data", resolve));
    expect(() => readRegularFile(file, 10)).toThrow("EAGAIN");
    expect(() => writeRegularFile(file, "y", { make: true })).toThrow("EAGAIN");
    expect(fs.statSync(file).size).toBe(1);
  } finally {
    child.kill("SIGKILL");
  }
});
