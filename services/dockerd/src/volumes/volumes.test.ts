import { afterEach, beforeEach, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { createLogger } from "@longshore/log";
import { openStore, type Store } from "@longshore/store";
import { tempDir } from "@longshore/testkit";
import { EngineEvents } from "../events/engine-events.ts";
import { copyUp } from "./copy-up.ts";
import { MergedView, overlayOfFds } from "./merged-view.ts";
import { directorySize } from "./volume-size.ts";
import { ANONYMOUS_LABEL, Volumes } from "./volumes.ts";

let dir: ReturnType<typeof tempDir>;
let store: Store;
/** Which container has which volumes. */
let containers: Record<string, string[]>;
let volumes: Volumes;

beforeEach(async () => {
  dir = tempDir();
  store = openStore(`sqlite:${path.join(dir.path, "engine.db")}`);
  containers = {};
  volumes = await open();
});
afterEach(async () => {
  await store[Symbol.asyncDispose]();
  dir[Symbol.dispose]();
});

async function open(): Promise<Volumes> {
  const made = new Volumes({
    dataRoot: dir.path,
    store,
    events: new EngineEvents(store, () => {}),
    log: createLogger("test", { stream: { write: () => {} } }),
    containersWith: (name) => Object.keys(containers).filter((id) => containers[id]?.includes(name)),
  });
  await made.load();
  return made;
}

function write(file: string, text: string): void {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, text);
}

const names = (of: Volumes) => of.list().map(({ name }) => name);

test("Volumes.create() gives what is there, and checks what is new", async () => {
  const first = await volumes.create({ name: "data", labels: { a: "b" } });
  expect(await volumes.create({ name: "data", labels: { c: "d" } })).toEqual(first);
  const anonymous = await volumes.create({ name: "" });
  expect(anonymous.labels).toEqual({ [ANONYMOUS_LABEL]: "" });
  const cases: [Parameters<Volumes["create"]>[0], string][] = [
    [{ name: "x" }, "create x: volume name is too short"],
    [{ name: "../x" }, 'create ../x: "../x" includes invalid characters'],
    [{ name: "ab", driver: "nfs" }, 'error looking up volume plugin nfs: plugin "nfs" not found'],
    [{ name: "ab", options: { odd: "1" } }, 'create ab: invalid option: "odd"'],
    [{ name: "ab", options: { type: "tmpfs" } }, 'create ab: missing required option: "device"'],
    [{ name: "ab", options: { size: "1m" } }, "create ab: quota size requested but no quota support"],
  ];
  for (const [asked, message] of cases) await expect(volumes.create(asked)).rejects.toThrow(message);
  expect(names(await open())).toEqual([anonymous.name, "data"].sort());
});

test("Volumes.remove() refuses what a container has or will have", async () => {
  await volumes.create({ name: "data" });
  containers = { c1: ["data"] };
  await expect(volumes.remove("data")).rejects.toThrow("remove data: volume is in use - [c1]");
  await volumes.remove("data", "c1");
  expect(names(volumes)).toEqual([]);
  containers = {};
  volumes.hold("c2", "data");
  await volumes.create({ name: "data" });
  await expect(volumes.remove("data")).rejects.toThrow("volume is in use - [c2]");
  volumes.letGo("c2");
  await volumes.remove("data");
  expect(fs.existsSync(volumes.directory("data"))).toBe(false);
  await expect(volumes.remove("data")).rejects.toThrow("get data: no such volume");
});

test("Volumes.create() during a removal makes a new volume", async () => {
  await volumes.create({ name: "data" });
  write(path.join(volumes.mountpoint("data"), "old"), "");
  const removed = volumes.remove("data");
  while (!fs.existsSync(path.join(volumes.directory("data"), "unwanted"))) await Promise.resolve();
  volumes.hold("c", "data");
  await volumes.create({ name: "data" });
  await removed;
  expect(fs.readdirSync(volumes.mountpoint("data"))).toEqual([]);
  expect(names(volumes)).toEqual(["data"]);
});

test("Volumes.load() takes back what was half-made, finishes removals, takes in what somebody put there", async () => {
  await volumes.create({ name: "kept" });
  const { record } = volumes.prepare({ name: "" });
  fs.writeFileSync(path.join(volumes.directory("kept"), "unwanted"), ""); // its removal wasn't committed
  write(path.join(volumes.directory("kept"), "_copy", "half"), "");
  const options = { type: "tmpfs", device: "tmpfs", o: "size=1m" };
  fs.mkdirSync(path.join(volumes.directory("found"), "_data"), { recursive: true });
  write(path.join(volumes.directory("found"), "opts.json"), JSON.stringify(options));
  write(path.join(volumes.root, "no-volume", "note"), "");
  fs.mkdirSync(path.join(volumes.root, "just-made"));
  const next = await open();
  expect(names(next)).toEqual(["found", "kept"]);
  expect(next.find("found").options).toEqual(options);
  expect(fs.existsSync(next.directory(record.name))).toBe(false);
  expect(fs.readdirSync(next.directory("kept"))).toEqual(["_data"]);
  expect(fs.readdirSync(next.root).sort()).toEqual(["found", "kept", "no-volume"]);
});

test("Volumes.mount() mounts a volume's own file system once, and for as long as somebody has it", async () => {
  const options = { type: "tmpfs", device: "tmpfs", o: "size=64k,mode=700" };
  await volumes.create({ name: "fast", options });
  const target = await volumes.mount("fast", "c1");
  write(path.join(target, "x"), "1");
  await volumes.mount("fast", "c2");
  await volumes.unmount("fast", "c1");
  expect(fs.readFileSync(path.join(target, "x"), "utf8")).toBe("1");
  // As a new daemon finds it.
  (await open()).settle(new Map([["c2", ["fast"]]]));
  expect(fs.existsSync(path.join(target, "x"))).toBe(true);
  (await open()).settle(new Map());
  expect(fs.readdirSync(target)).toEqual([]);
});

test("Volumes.mount() leaves other file systems than a tmpfs to a process of their own, with its words", async () => {
  await volumes.create({ name: "proc", options: { type: "proc", device: "proc", o: "ro,hidepid=2" } });
  const target = await volumes.mount("proc", "c1");
  expect(fs.existsSync(path.join(target, "self"))).toBe(true);
  expect(() => fs.writeFileSync(path.join(target, "sys/kernel/panic"), "0")).toThrow("EROFS");
  await volumes.unmount("proc", "c1");
  expect(fs.readdirSync(target)).toEqual([]);
  await volumes.create({ name: "odd", options: { type: "nosuchfs", device: "/dev/null" } });
  await expect(volumes.mount("odd", "c1")).rejects.toThrow(
    /^error while mounting volume '.*_data': failed to mount local volume: mount \/dev\/null:.*_data: (\/dev\/null is not a block device|.*: \/dev\/null: can't lookup blockdev)$/,
  );
  expect(fs.readdirSync(volumes.mountpoint("odd"))).toEqual([]);
});

test("copyUp() fills an empty volume at once, and no other", async () => {
  const image = path.join(dir.path, "image");
  write(path.join(image, "data/a/f"), "1");
  fs.chmodSync(path.join(image, "data"), 0o2750);
  fs.chownSync(path.join(image, "data"), 5, 6);
  fs.symlinkSync("/data", path.join(image, "link"));
  fs.symlinkSync("../../../../../../etc", path.join(image, "out"));
  const fill = async (name: string, destination: string, subpath = "") => {
    await volumes.create({ name });
    await copyUp(volumes, name, { image, destination, subpath });
    return fs.readdirSync(volumes.mountpoint(name));
  };
  expect(await fill("one", "/link")).toEqual(["a"]);
  const { uid, gid, mode } = fs.statSync(volumes.mountpoint("one"));
  expect([uid, gid, mode & 0o7777]).toEqual([5, 6, 0o2750]);
  fs.rmSync(path.join(volumes.mountpoint("one"), "a"), { recursive: true });
  write(path.join(volumes.mountpoint("one"), "own"), "");
  expect(await fill("one", "/data")).toEqual(["own"]);
  for (const outside of ["/out", "/out/apt", "/nosuch"]) expect(await fill("none", outside)).toEqual([]);
  await expect(fill("none", "/data/a/f")).rejects.toThrow("cannot mount volume over existing file");

  // What another container has mounted stays the same directory.
  containers = { c: ["used"] };
  await volumes.create({ name: "used" });
  const { ino } = fs.statSync(volumes.mountpoint("used"));
  expect(await fill("used", "/data")).toEqual(["a"]);
  expect(fs.statSync(volumes.mountpoint("used")).ino).toBe(ino);

  await volumes.create({ name: "part" });
  fs.mkdirSync(path.join(volumes.mountpoint("part"), "sub"));
  fs.symlinkSync(image, path.join(volumes.mountpoint("part"), "away"));
  await fill("part", "/data", "sub");
  expect(fs.readdirSync(path.join(volumes.mountpoint("part"), "sub"))).toEqual(["a"]);
  await expect(fill("part", "/data", "away")).rejects.toThrow(
    "cannot access path away: no such file or directory",
  );
});

test("MergedView shows the layers as one, the uppermost first, also to older kernels", () => {
  const layers = ["upper", "middle", "lower"].map((name) => path.join(dir.path, name));
  for (const [index, layer] of layers.entries()) {
    write(path.join(layer, "same"), String(index));
    write(path.join(layer, `own${index}`), "");
  }
  const look = (root: string) => [fs.readdirSync(root).sort(), fs.readFileSync(`${root}/same`, "utf8")];
  const expected = [["own0", "own1", "own2", "same"], "0"];
  using view = new MergedView(layers);
  expect(look(view.path)).toEqual(expected);
  expect(() => fs.writeFileSync(`${view.path}/x`, "")).toThrow("EROFS");
  const before = process.cwd();
  const fd = overlayOfFds(layers);
  expect(look(`/proc/self/fd/${fd}`)).toEqual(expected);
  fs.closeSync(fd);
  expect(process.cwd()).toBe(before);
  using single = new MergedView(layers.slice(2));
  expect(look(single.path)).toEqual([["own2", "same"], "2"]);
});

test("directorySize() counts a file of several names once", async () => {
  write(path.join(dir.path, "d/a"), "12345");
  write(path.join(dir.path, "d/e/b"), "678");
  fs.linkSync(path.join(dir.path, "d/a"), path.join(dir.path, "d/e/c"));
  fs.symlinkSync("/etc", path.join(dir.path, "d/f"));
  expect(await directorySize(path.join(dir.path, "d"))).toBe(5 + 3 + "/etc".length);
});
