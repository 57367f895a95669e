import { afterAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { layersOf, readLayeredFile } from "./layered-root.ts";

const root = fs.mkdtempSync(path.join(os.tmpdir(), "layers-"));
afterAll(() => fs.rmSync(root, { recursive: true }));
const [upper, middle, lower] = ["upper", "middle", "lower"].map((name) => path.join(root, name)) as [
  string,
  string,
  string,
];
fs.mkdirSync(path.join(upper, "etc"), { recursive: true });
fs.mkdirSync(path.join(middle, "etc"), { recursive: true });
fs.mkdirSync(path.join(lower, "etc"), { recursive: true });
fs.writeFileSync(path.join(lower, "etc/passwd"), "from lower");
fs.writeFileSync(path.join(lower, "etc/group"), "group of lower");
fs.writeFileSync(path.join(middle, "etc/passwd"), "from middle");
fs.writeFileSync(path.join(root, "secret"), "of the host");
const layers = [upper, middle, lower];

test("layersOf() takes the directories out of overlay options", () => {
  const options = ["workdir=/w", "upperdir=/u", "lowerdir=/a:/b"];
  expect(layersOf([{ type: "overlay", source: "overlay", target: "", options }])).toEqual(["/u", "/a", "/b"]);
  expect(layersOf([{ type: "bind", source: "/s", target: "", options: [] }])).toEqual(["/s"]);
});

test("readLayeredFile() finds the uppermost file", () => {
  expect(readLayeredFile(layers, "/etc/passwd")).toBe("from middle");
  expect(readLayeredFile(layers, "/etc/group")).toBe("group of lower");
  expect(readLayeredFile(layers, "/etc/nothing")).toBeUndefined();
});

test("readLayeredFile() follows links inside the root only", () => {
  fs.symlinkSync("../../../../../../../../../etc/group", path.join(upper, "etc/link"));
  fs.symlinkSync(path.join(root, "secret"), path.join(upper, "etc/escape"));
  fs.symlinkSync("loop", path.join(upper, "etc/loop"));
  expect(readLayeredFile(layers, "/etc/link")).toBe("group of lower");
  expect(readLayeredFile(layers, "/etc/escape")).toBeUndefined();
  expect(readLayeredFile(layers, "/etc/loop")).toBeUndefined();
});

test("readLayeredFile() goes through no layer's link in the place of a directory", () => {
  const evil = path.join(root, "evil");
  fs.mkdirSync(evil);
  fs.symlinkSync(path.join(lower, "etc"), path.join(evil, "etc"));
  expect(readLayeredFile([upper, evil], "/etc/passwd")).toBeUndefined();
});
