import { afterEach, beforeEach, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { checkRdt, joinRdt, leaveRdt, updateRdt } from "./resctrl.ts";

// No machine at hand has the hardware: a directory shows which files would be written.
let root = "";
const group = (name: string) => {
  for (const directory of [name, `${name}/mon_groups`, `${name}/mon_groups/box`]) {
    fs.mkdirSync(path.join(root, directory), { recursive: true });
    for (const file of ["tasks", "schemata"]) fs.writeFileSync(path.join(root, directory, file), "");
  }
};
const text = (name: string) => fs.readFileSync(path.join(root, name), "utf8");

beforeEach(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), "resctrl-test-"));
  fs.mkdirSync(path.join(root, "info/L3"), { recursive: true });
});
afterEach(() => fs.rmSync(root, { recursive: true }));

test("joinRdt() puts a process into the group and writes all schemata at once", () => {
  group("gold");
  const state = joinRdt(
    { closID: "gold", l3CacheSchema: "L3:0=f", schemata: ["MB:0=20"], enableMonitoring: true },
    { id: "box", pid: 42 },
    root,
  );
  expect(text("gold/tasks")).toBe("42");
  expect(text("gold/schemata")).toBe("L3:0=f\nMB:0=20\n");
  expect(text("gold/mon_groups/box/tasks")).toBe("42");
  // Named by the user, it may be shared: not ours to remove.
  expect(state.own).toBe(false);
  updateRdt(state, { l3CacheSchema: "L3:0=3" }, root);
  expect(text("gold/schemata")).toStartWith("L3:0=3\n");
});

test("joinRdt() refuses a group that isn't there when there is nothing to give it", () => {
  expect(() => joinRdt({ closID: "silver" }, { id: "box", pid: 1 }, root)).toThrow("clos dir not accessible");
});

test("leaveRdt() removes a group made for the container, and does so once", () => {
  fs.mkdirSync(path.join(root, "box"));
  const state = { path: path.join(root, "box"), own: true };
  leaveRdt(state);
  leaveRdt(state);
  expect(fs.existsSync(path.join(root, "box"))).toBe(false);
});

test("checkRdt() names what the machine hasn't", () => {
  expect(() => checkRdt({ memBwSchema: "MB:0=20" }, root)).toThrow("Intel RDT/MBA is not enabled");
  expect(checkRdt({ l3CacheSchema: "L3:0=f" }, root)).toBe(root);
  expect(() => checkRdt({ closID: "../x" }, root)).toThrow('invalid intelRdt.ClosID "../x"');
});
