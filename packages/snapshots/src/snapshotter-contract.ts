import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { SnapshotMount, Snapshotter } from "./snapshotter.ts";

/** The directory that an active snapshot's own files are in, without mounting. */
function writableDir([mount]: readonly SnapshotMount[]): string {
  if (mount?.type === "bind") return mount.source;
  const upper = mount?.options.find((option) => option.startsWith("upperdir="));
  if (upper === undefined) throw new Error("nothing to write to");
  return upper.slice("upperdir=".length);
}

/** Look at (and change) what a snapshot's user sees. */
function mounted<T>([mount]: readonly SnapshotMount[], look: (root: string) => T): T {
  const target = fs.mkdtempSync(path.join(os.tmpdir(), "snapshots-mount-"));
  const { type = "", source = "", options = [] } = mount ?? {};
  execFileSync("mount", ["-t", type, "-o", options.join(","), source, target]);
  try {
    return look(target);
  } finally {
    execFileSync("umount", [target]);
    fs.rmdirSync(target);
  }
}

const code = (wanted: string) => expect.objectContaining({ code: wanted });

/** What every snapshotter must do. `open` is called again to see what survives. */
export function snapshotterContract(name: string, open: () => Promise<Snapshotter>): void {
  describe(`${name} snapshotter`, () => {
    let snapshotter: Snapshotter;
    beforeEach(async () => {
      snapshotter = await open();
    });
    afterEach(async () => {
      let left = await snapshotter.list();
      while (left.length > 0) {
        for (const { name: key } of left) await snapshotter.remove(key).catch(() => {});
        left = await snapshotter.list();
      }
      await snapshotter[Symbol.asyncDispose]();
    });

    async function layer(committed: string, parent = ""): Promise<void> {
      const mounts = await snapshotter.prepare(`active-${committed}`, parent);
      fs.writeFileSync(`${writableDir(mounts)}/file`, committed);
      await snapshotter.commit(committed, `active-${committed}`);
    }

    test("prepare() then commit() makes a committed snapshot and takes the key away", async () => {
      await snapshotter.prepare("a", "", { labels: { x: "1" } });
      expect(await snapshotter.stat("a")).toMatchObject({
        name: "a",
        parent: "",
        kind: "active",
        labels: { x: "1" },
      });
      await snapshotter.commit("one", "a", { labels: { y: "2" } });
      expect(await snapshotter.stat("one")).toMatchObject({
        kind: "committed",
        parent: "",
        labels: { y: "2" },
      });
      expect(snapshotter.stat("a")).rejects.toEqual(code("not_found"));
    });

    test("names are taken once", async () => {
      await snapshotter.prepare("a", "");
      expect(snapshotter.prepare("a", "")).rejects.toEqual(code("already_exists"));
      expect(snapshotter.view("a", "")).rejects.toEqual(code("already_exists"));
      await layer("one");
      expect(snapshotter.commit("one", "a")).rejects.toEqual(code("already_exists"));
    });

    test("a parent must exist and be committed", async () => {
      await snapshotter.prepare("a", "");
      expect(snapshotter.prepare("b", "absent")).rejects.toEqual(code("not_found"));
      expect(snapshotter.prepare("b", "a")).rejects.toEqual(code("invalid_argument"));
      expect((await snapshotter.list()).map((info) => info.name)).toEqual(["a"]);
    });

    test("commit() refuses a view, a committed snapshot and nothing", async () => {
      await layer("one");
      await snapshotter.view("v", "one");
      expect(snapshotter.commit("two", "v")).rejects.toEqual(code("failed_precondition"));
      expect(snapshotter.commit("two", "one")).rejects.toEqual(code("failed_precondition"));
      expect(snapshotter.commit("two", "absent")).rejects.toEqual(code("not_found"));
    });

    test("remove() refuses a parent until its child is gone", async () => {
      await layer("one");
      await layer("two", "one");
      expect(snapshotter.remove("one")).rejects.toEqual(code("failed_precondition"));
      await snapshotter.remove("two");
      await snapshotter.remove("one");
      expect(snapshotter.remove("one")).rejects.toEqual(code("not_found"));
    });

    test("mounts() repeats what prepare() answered, and refuses committed ones", async () => {
      await layer("one");
      await layer("two", "one");
      for (const parent of ["", "one", "two"]) {
        expect(await snapshotter.mounts(`p${parent}`).catch(() => [])).toEqual([]);
        const mounts = await snapshotter.prepare(`p${parent}`, parent);
        expect(await snapshotter.mounts(`p${parent}`)).toEqual(mounts);
      }
      expect(snapshotter.mounts("one")).rejects.toEqual(code("failed_precondition"));
    });

    test("a snapshot shows its parents' files, and what is done to it changes none of them", async () => {
      await layer("one");
      const kept = mounted(await snapshotter.prepare("a", "one"), (root) => {
        fs.writeFileSync(`${root}/added`, "a");
        fs.chmodSync(root, 0o700);
        return fs.readFileSync(`${root}/file`, "utf8");
      });
      expect(kept).toBe("one");
      await snapshotter.commit("two", "a");
      mounted(await snapshotter.prepare("b", "two"), (root) => {
        expect(fs.readdirSync(root).sort()).toEqual(["added", "file"]);
        fs.rmSync(`${root}/file`);
        fs.writeFileSync(`${root}/added`, "b");
      });
      mounted(await snapshotter.mounts("b"), (root) => {
        expect(fs.readdirSync(root)).toEqual(["added"]);
      });
      for (const [name, files] of [
        ["one", ["file"]],
        ["two", ["added", "file"]],
      ] as const) {
        mounted(await snapshotter.view(`v-${name}`, name), (root) => {
          expect(fs.readdirSync(root).sort()).toEqual([...files]);
          expect(fs.readFileSync(`${root}/file`, "utf8")).toBe("one");
          expect(() => fs.writeFileSync(`${root}/new`, "")).toThrow("EROFS");
        });
      }
    });

    test("two that make the same name at once: one of them gets it; a parent stays while a child is being made", async () => {
      await layer("one");
      const made = [snapshotter.prepare("a", "one"), snapshotter.prepare("a", "one")];
      const removed = Promise.allSettled([Promise.resolve().then(() => snapshotter.remove("one"))]);
      expect((await Promise.allSettled(made)).map(({ status }) => status).sort()).toEqual([
        "fulfilled",
        "rejected",
      ]);
      expect(await removed).toEqual([{ status: "rejected", reason: code("failed_precondition") }]);
      expect(await snapshotter.list()).toHaveLength(2);
    });

    test("usage() counts what a snapshot adds", async () => {
      const mounts = await snapshotter.prepare("a", "");
      const dir = writableDir(mounts);
      fs.writeFileSync(`${dir}/file`, Buffer.alloc(100_000, 1));
      fs.linkSync(`${dir}/file`, `${dir}/link`);
      const { inodes, sizeBytes } = await snapshotter.usage("a");
      expect(inodes).toBe(2);
      expect(sizeBytes).toBeGreaterThanOrEqual(100_000);
      expect(sizeBytes).toBeLessThan(200_000);
      await snapshotter.commit("one", "a");
      expect((await snapshotter.usage("one")).inodes).toBe(2);
      await snapshotter.view("v", "one");
      expect((await snapshotter.usage("v")).inodes).toBeLessThanOrEqual(1);
    });

    test("setLabels() replaces them", async () => {
      await snapshotter.prepare("a", "", { labels: { x: "1", y: "2" } });
      const { createdAt } = await snapshotter.stat("a");
      expect((await snapshotter.setLabels("a", { y: "3" })).labels).toEqual({ y: "3" });
      expect(await snapshotter.stat("a")).toMatchObject({ labels: { y: "3" }, createdAt });
    });

    test("list() is by name and by prefix", async () => {
      await layer("n/2");
      await layer("n/1");
      await layer("o");
      expect((await snapshotter.list("n/")).map((info) => info.name)).toEqual(["n/1", "n/2"]);
      expect(await snapshotter.list()).toHaveLength(3);
    });

    test("another instance finds everything", async () => {
      await layer("one");
      await snapshotter.prepare("a", "one");
      const before = [await snapshotter.list(), await snapshotter.mounts("a")];
      await snapshotter[Symbol.asyncDispose]();
      snapshotter = await open();
      expect([await snapshotter.list(), await snapshotter.mounts("a")]).toEqual(before as never);
      expect(snapshotter.remove("one")).rejects.toEqual(code("failed_precondition"));
      await snapshotter.prepare("b", "one");
      expect(await snapshotter.mounts("b")).not.toEqual(await snapshotter.mounts("a"));
    });
  });
}
