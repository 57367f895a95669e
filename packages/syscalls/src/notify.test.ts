import { expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import {
  AF_INET,
  AF_UNIX,
  bind,
  bindUnix,
  close,
  fixedBuffer,
  notifySupervisor,
  receive,
  SOCK_DGRAM,
  SOCK_STREAM,
  socket,
  socketName,
} from "./index.ts";

test("notifySupervisor() tells a socket with a path and one with an abstract name; nobody without an address", () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "notify-"));
  const file = path.join(dir, "notify");
  const name = `longshore-test-${process.pid}`;
  const [byPath, abstract] = [socket(AF_UNIX, SOCK_DGRAM), socket(AF_UNIX, SOCK_DGRAM)];
  bindUnix(byPath, file);
  bind(abstract, Buffer.from(`\x01\x00\x00${name}`, "latin1"));
  const read = (fd: number) => {
    const into = fixedBuffer(64);
    return into.toString("utf8", 0, receive(fd, into));
  };
  expect(notifySupervisor("READY=1", file)).toBe(true);
  expect(read(byPath)).toBe("READY=1");
  expect(notifySupervisor("STOPPING=1", `@${name}`)).toBe(true);
  expect(read(abstract)).toBe("STOPPING=1");
  expect(notifySupervisor("READY=1", "")).toBe(false);
  expect(() => notifySupervisor("READY=1", path.join(dir, "nobody"))).toThrow("ENOENT");
  for (const fd of [byPath, abstract]) close(fd);
  fs.rmSync(dir, { recursive: true });
});

test("socketName() says where a socket is bound", () => {
  const [unix, inet] = [socket(AF_UNIX, SOCK_STREAM), socket(AF_INET, SOCK_STREAM)];
  bind(inet, Uint8Array.of(2, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0));
  const inet6 = socket(10, SOCK_STREAM);
  bind(inet6, Uint8Array.of(10, 0, ...Array.from({ length: 26 }, (_, at) => (at === 21 ? 1 : 0))));
  expect(socketName(unix)).toEqual({ family: "unix" });
  expect(socketName(inet)).toMatchObject({ family: "inet", hostname: "127.0.0.1" });
  expect(socketName(inet6)).toMatchObject({ family: "inet", hostname: "::1" });
  for (const fd of [unix, inet, inet6]) close(fd);
});
