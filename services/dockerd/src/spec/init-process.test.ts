import { expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { hostConfigSchema } from "../containers/container-config.ts";
import { checkInit, findInit, wantsInit, withInit } from "./init-process.ts";

const host = (more: object) => hostConfigSchema.parse(more);
const settings = { init: false, initPath: undefined };

test("wantsInit() is what the container says, else what the daemon is set to", () => {
  expect(wantsInit(host({ Init: true }), settings)).toBe(true);
  expect(wantsInit(host({}), settings)).toBe(false);
  expect(wantsInit(host({}), { ...settings, init: true })).toBe(true);
  expect(wantsInit(host({ Init: false }), { ...settings, init: true })).toBe(false);
  expect(wantsInit(host({ PidMode: "host" }), { ...settings, init: true })).toBe(false);
  expect(() => checkInit(host({ Init: true, PidMode: "host" }), settings)).toThrow("HostConfig.Init needs");
});

test("findInit() looks for docker-init before tini-static, and says what is missing", () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "init-"));
  try {
    expect(() => findInit(settings, directory)).toThrow("no init program is installed");
    expect(() => findInit({ ...settings, initPath: "/nowhere/init" }, directory)).toThrow("/nowhere/init");
    fs.writeFileSync(path.join(directory, "tini-static"), "", { mode: 0o755 });
    expect(findInit(settings, directory)).toEndWith("/tini-static");
    fs.writeFileSync(path.join(directory, "docker-init"), "", { mode: 0o755 });
    expect(findInit(settings, directory)).toEndWith("/docker-init");
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
});

test("withInit() puts it before the command", () => {
  expect(withInit(["sleep", "-h"], "/usr/bin/tini-static")).toMatchObject({
    args: ["/sbin/docker-init", "--", "sleep", "-h"],
    mount: { source: "/usr/bin/tini-static", destination: "/sbin/docker-init" },
  });
});
