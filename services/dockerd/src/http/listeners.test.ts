import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { tempDir } from "@longshore/testkit";
import { chooseSockets, inheritedSockets, socketGroup } from "./listeners.ts";

test("inheritedSockets() takes what is meant for this process alone, and forgets who said so", () => {
  const env = { LISTEN_PID: String(process.pid + 1), LISTEN_FDS: "2", LISTEN_FDNAMES: "a:b" };
  expect(inheritedSockets(env)).toEqual([]);
  expect(env).toEqual({} as typeof env);
});

test("chooseSockets() takes all or one by its number", () => {
  expect(chooseSockets("", [3, 4])).toEqual([3, 4]);
  expect(chooseSockets("4", [3, 4])).toEqual([4]);
  expect(() => chooseSockets("", [])).toThrow("no sockets found via socket activation");
  expect(() => chooseSockets("5", [3, 4])).toThrow("too few socket activated files passed in by systemd");
  expect(() => chooseSockets("x", [3])).toThrow("failed to parse systemd fd address: should be a number: x");
});

test("socketGroup() finds a group by name or number; docker's only where it is", () => {
  using dir = tempDir();
  const file = path.join(dir.path, "group");
  fs.writeFileSync(file, "root:x:0:\nops:x:44:a,b\n");
  expect(socketGroup("ops", file)).toBe(44);
  expect(socketGroup("1234", file)).toBe(1234);
  expect(socketGroup("", file)).toBeUndefined();
  expect(socketGroup(undefined, file)).toBeUndefined();
  expect(() => socketGroup("none", file)).toThrow("group none not found");
  fs.appendFileSync(file, "docker:x:77:\n");
  expect(socketGroup(undefined, file)).toBe(77);
});
