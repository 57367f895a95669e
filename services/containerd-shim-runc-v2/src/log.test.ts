import { expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { EngineError } from "@longshore/errors";
import { configureLog, formatLine, log } from "./log.ts";

test("formatLine() is a line as pino writes it, errors with their code and stack", () => {
  const line = formatLine(40, { id: "c1", err: new EngineError("not_found", "no such") }, "trouble");
  expect(line.endsWith("\n")).toBe(true);
  const { time, pid, hostname, err, ...rest } = JSON.parse(line);
  expect(Date.now() - time).toBeLessThan(10_000);
  expect(pid).toBe(process.pid);
  expect(hostname).not.toBe("");
  expect(err).toMatchObject({ type: "EngineError", message: "no such", code: "not_found" });
  expect(err.stack).toContain("log.test.ts");
  expect(rest).toEqual({ level: 40, name: "containerd-shim-runc-v2", id: "c1", msg: "trouble" });
});

test("a log that nobody reads, or that isn't there, holds up nobody", () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "ls-shim-log-"));
  using _ = { [Symbol.dispose]: () => fs.rmSync(dir, { recursive: true }) };
  const file = path.join(dir, "log");
  configureLog({ file, debug: false });
  log().warn({}, "no FIFO");
  expect(fs.existsSync(file)).toBe(false);
  expect(Bun.spawnSync(["mkfifo", file]).exitCode).toBe(0);
  // As containerd has it while it runs; a pipe holds 64 KiB.
  const reader = fs.openSync(file, fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
  for (let n = 0; n < 1000; n++) log().warn({ n }, "x".repeat(200));
  const text = fs.readSync(reader, Buffer.alloc(1 << 20));
  expect(text).toBeGreaterThan(30_000);
  fs.closeSync(reader);
  for (let n = 0; n < 1000; n++) log().warn({ n }, "x".repeat(200));
});
