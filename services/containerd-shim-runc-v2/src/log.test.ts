import { expect, test } from "bun:test";
import { EngineError } from "@longshore/errors";
import { formatLine } from "./log.ts";

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
