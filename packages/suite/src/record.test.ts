import { afterAll, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { processIdentity, sameProcess } from "./process-identity.ts";
import { AlreadyRunning, leftBehind, refuseSecondOwner, stopLeftBehind, writeRecord } from "./record.ts";

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-"));
afterAll(() => fs.rmSync(dir, { recursive: true }));
const file = path.join(dir, "suite.json");

test("sameProcess() tells a process from a later one with its number", () => {
  const self = processIdentity(process.pid);
  expect(self && sameProcess(self)).toBe(true);
  expect(sameProcess({ pid: process.pid, startTime: "1" })).toBe(false);
});

test("refuseSecondOwner() refuses while another owner lives", () => {
  expect(() => refuseSecondOwner(file)).not.toThrow();
  const init = processIdentity(1);
  fs.writeFileSync(file, JSON.stringify({ owner: init, daemons: {} }));
  expect(() => refuseSecondOwner(file)).toThrow(AlreadyRunning);
  fs.writeFileSync(file, JSON.stringify({ owner: { ...init, startTime: "no" }, daemons: {} }));
  expect(() => refuseSecondOwner(file)).not.toThrow();
});

test("stopLeftBehind() ends the recorded daemons, and no other process", async () => {
  const child = spawn("/bin/sh", ["-c", "exec tail -f /dev/null"]);
  const ended = new Promise((resolve) => child.once("exit", resolve));
  writeRecord(file, { thing: child.pid ?? 0 });
  expect(leftBehind(file)).toEqual([{ name: "thing", pid: child.pid ?? 0 }]);
  const ownedByInit = JSON.parse(fs.readFileSync(file, "utf8"));
  fs.writeFileSync(file, JSON.stringify({ ...ownedByInit, owner: processIdentity(1) }));
  expect(stopLeftBehind(file)).rejects.toThrow(AlreadyRunning);
  writeRecord(file, { thing: child.pid ?? 0 });
  expect(await stopLeftBehind(file)).toEqual(["thing"]);
  await ended;
  expect(fs.existsSync(file)).toBe(false);
});
