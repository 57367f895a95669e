import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { tempDir } from "@longshore/testkit";
import { Authorizer } from "./authorizer.ts";

test("configure() refuses a plugin that is not there, and goes on with those that it had", () => {
  using dir = tempDir();
  fs.writeFileSync(path.join(dir.path, "known.spec"), "unix:///run/known.sock");
  const authorizer = new Authorizer({ sockets: dir.path, specs: [dir.path] });
  expect(() => authorizer.configure(["unknown"])).toThrow('plugin "unknown" not found');
  expect(authorizer.active).toBe(false);
  authorizer.configure(["known"]);
  expect(() => authorizer.configure([])).not.toThrow();
  expect(authorizer.active).toBe(false);
  authorizer.configure(["known"]);
  expect(() => authorizer.configure(["known", "unknown"])).toThrow('plugin "unknown" not found');
  expect(authorizer.active).toBe(true);
});
