import { afterAll, expect, test } from "bun:test";
import crypto from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { isErrno } from "@longshore/errors";
import {
  Arena,
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  close,
  errnoName,
  exitStatus,
  isAlive,
  isOpen,
  lgetxattr,
  llistxattr,
  lsetxattr,
  makedev,
  makeTerminalRaw,
  mkdirAll,
  O_CLOEXEC,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  openat2,
  openFile,
  openPty,
  openPtyPeer,
  pipe,
  RESOLVE_IN_ROOT,
  readDirectory,
  readFile,
  readText,
  receiveFds,
  restoreTerminal,
  SOCK_STREAM,
  sendFds,
  setWindowSize,
  socketpair,
  stat,
  utimensat,
  windowSize,
  writeAll,
  writeFile,
} from "./index.ts";

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "syscalls-"));
afterAll(() => fs.rmSync(dir, { recursive: true }));

test("writeFile() and readFile() carry more than one buffer's worth", () => {
  const file = path.join(dir, "big");
  const bytes = crypto.randomBytes(100_000);
  writeFile(file, bytes);
  expect(readFile(file).equals(bytes)).toBe(true);
  writeFile(file, "short");
  expect(readText(file)).toBe("short");
});

test("openFile() of a missing file throws an Errno with code and path", () => {
  let error: unknown;
  try {
    openFile(path.join(dir, "missing"), O_RDONLY);
  } catch (thrown) {
    error = thrown;
  }
  expect(isErrno(error, "ENOENT")).toBe(true);
  expect(String(error)).toContain("missing");
});

test("openat2() with RESOLVE_IN_ROOT keeps an absolute symlink inside", () => {
  const root = path.join(dir, "root");
  mkdirAll(path.join(root, "etc"));
  fs.symlinkSync("/etc/inside", path.join(root, "link"));
  fs.writeFileSync(path.join(root, "etc/inside"), "mine");
  const rootFd = openFile(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  const fd = openat2(rootFd, "link", { flags: O_RDONLY | O_CLOEXEC, resolve: RESOLVE_IN_ROOT });
  expect(fs.readFileSync(fd, "utf8")).toBe("mine");
  close(fd);
  close(rootFd);
});

test("utimensat() sets nanoseconds of a symlink itself, also before 1970", () => {
  const link = path.join(dir, "dangling");
  fs.symlinkSync("nowhere", link);
  utimensat(link, { atimeNs: 1n, mtimeNs: -1n }, { nofollow: true });
  const status = fs.lstatSync(link, { bigint: true });
  expect([status.atimeNs, status.mtimeNs]).toEqual([1n, -1n]);
});

test("sendFds() hands a pipe over that receiveFds() can write to", () => {
  const [left, right] = socketpair(SOCK_STREAM);
  const [read, write] = pipe();
  sendFds(left, Buffer.from("name"), [write]);
  close(write);
  const received = receiveFds(right);
  expect(received?.data.toString()).toBe("name");
  const [passed] = received?.fds ?? [];
  if (passed === undefined) throw new Error("no descriptor came");
  writeAll(passed, "through");
  close(passed);
  expect(fs.readFileSync(read, "utf8")).toBe("through");
  for (const fd of [left, right, read]) close(fd);
  expect(isOpen(left)).toBe(false);
});

test("makeTerminalRaw() sends bytes on as they are until restoreTerminal()", () => {
  const { master } = openPty();
  const peer = openPtyPeer(master);
  const saved = makeTerminalRaw(peer);
  fs.writeSync(peer, "a\nb");
  fs.writeSync(master, "\u0003");
  const buffer = Buffer.alloc(16);
  expect(buffer.toString("latin1", 0, fs.readSync(master, buffer))).toBe("a\nb");
  expect(buffer.toString("latin1", 0, fs.readSync(peer, buffer))).toBe("\u0003");
  restoreTerminal(peer, saved);
  fs.writeSync(peer, "a\n");
  expect(buffer.toString("latin1", 0, fs.readSync(master, buffer))).toBe("a\r\n");
  fs.closeSync(peer);
  fs.closeSync(master);
});

test("openPty() gives a pair whose window size is the one that was set", () => {
  const { master } = openPty();
  const peer = openPtyPeer(master);
  setWindowSize(master, { rows: 33, columns: 101 });
  expect(windowSize(peer)).toEqual({ rows: 33, columns: 101 });
  close(peer);
  close(master);
});

test("lsetxattr() and llistxattr() agree where the file system has user attributes", () => {
  const file = path.join(dir, "attributes");
  fs.writeFileSync(file, "");
  try {
    lsetxattr(file, "user.longshore", Buffer.from("v"));
  } catch (error) {
    if (isErrno(error, "EOPNOTSUPP")) return;
    throw error;
  }
  expect(llistxattr(file)).toContain("user.longshore");
  expect(lgetxattr(file, "user.longshore")?.toString()).toBe("v");
  expect(lgetxattr(file, "user.other")).toBeUndefined();
});

test("readDirectory() and stat() tell what is there", () => {
  expect(readDirectory(dir).map(({ name }) => name)).toContain("dangling");
  expect(stat(path.join(dir, "dangling"), AT_SYMLINK_NOFOLLOW, AT_FDCWD).mode & 0o170000).toBe(0o120000);
});

test("Arena refuses a NUL inside a string and one that doesn't fit", () => {
  const arena = new Arena(2048);
  expect(() => arena.string("a\0b")).toThrow("EINVAL");
  expect(() => arena.string("x".repeat(4096))).toThrow("ENAMETOOLONG");
});

test("exitStatus(), makedev() and errnoName() convert as the kernel does", () => {
  expect([exitStatus(0), exitStatus(256), exitStatus(9), exitStatus(0x8b)]).toEqual([0, 1, 137, 139]);
  expect([makedev(1, 3), makedev(136, 256)]).toEqual([259, 0x108800]);
  expect([errnoName(2), errnoName(4242)]).toEqual(["ENOENT", "E4242"]);
});

test("isAlive() takes a zombie for gone: its parent may never wait for it", async () => {
  // The sleep that the shell becomes knows nothing of the shell's child.
  const script = "sleep 1001 >/dev/null & echo $!; exec sleep 1000";
  const parent = Bun.spawn(["sh", "-c", script], { stdin: "ignore", stdout: "pipe" });
  try {
    const { value } = await parent.stdout.getReader().read();
    const child = Number(new TextDecoder().decode(value));
    while (fs.readFileSync(`/proc/${parent.pid}/comm`, "utf8") !== "sleep\n") await Bun.sleep(1);
    expect([isAlive(parent.pid), isAlive(child)]).toEqual([true, true]);
    process.kill(child, "SIGKILL");
    while (!/^State:\tZ/m.test(fs.readFileSync(`/proc/${child}/status`, "utf8"))) await Bun.sleep(5);
    expect(isAlive(child)).toBe(false);
  } finally {
    parent.kill();
    await parent.exited;
  }
  expect(isAlive(parent.pid)).toBe(false);
});
