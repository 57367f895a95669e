import { afterAll, beforeAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import {
  MNT_DETACH,
  MS_RDONLY,
  MS_REMOUNT,
  MS_SHARED,
  makeUserNamespace,
  mount,
  umount2,
} from "@longshore/syscalls";
import { mountMapped } from "./mapped-layers.ts";
import { unmountAll } from "./rootfs.ts";

const canMap = process.getuid?.() === 0 && Bun.spawnSync(["unshare", "--user", "true"]).exitCode === 0;
if (!canMap) console.log("# skipped: layers with other owners: user namespaces can't be made here");

let dir: string;
const at = (...parts: string[]) => path.join(dir, ...parts);
/** Where something is mounted, at or below the directory. */
const mountedAt = () =>
  fs
    .readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .flatMap((line) => line.split(" ")[4] ?? [])
    .filter((point) => point.startsWith(`${dir}/`))
    .map((point) => path.relative(dir, point));

beforeAll(() => {
  if (!canMap) return;
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "longshore-layers-"));
  fs.mkdirSync(at("layers"));
  mount({ source: "tmpfs", target: at("layers"), type: "tmpfs" });
  mount({ source: "", target: at("layers"), flags: MS_SHARED });
  for (const name of ["low", "upper", "work"]) fs.mkdirSync(at("layers", name));
  fs.writeFileSync(at("layers/low/file"), "");
  fs.chownSync(at("layers/low/file"), 7, 7);
  // Nothing but a place for the root can be mounted in it.
  fs.mkdirSync(at("bundle"));
  mount({ source: "tmpfs", target: at("bundle"), type: "tmpfs" });
  fs.mkdirSync(at("bundle/rootfs"));
  mount({ source: "tmpfs", target: at("bundle"), type: "tmpfs", flags: MS_REMOUNT | MS_RDONLY });
});
afterAll(() => {
  if (!canMap) return;
  for (const name of ["bundle", "layers"]) umount2(at(name), MNT_DETACH);
  fs.rmSync(dir, { recursive: true });
});

test.skipIf(!canMap)(
  "mountMapped() shows layers with other owners at the root alone, whatever else fails",
  () => {
    const ids = [
      { containerID: 0, hostID: 100_000, size: 1000 },
      { containerID: 1000, hostID: 0, size: 1 },
    ];
    const namespace = makeUserNamespace(ids, ids);
    const root = at("bundle/rootfs");
    const [low, upper, work] = ["low", "upper", "work"].map((name) => at("layers", name));
    const overlay = (lower: string | undefined) => ({
      ...{ type: "overlay", source: "overlay", target: "" },
      options: [`lowerdir=${lower}`, `upperdir=${upper}`, `workdir=${work}`],
    });
    try {
      mountMapped(overlay(low), root, `/proc/self/fd/${namespace}`);
      expect(fs.statSync(`${root}/file`).uid).toBe(100_007);
      fs.writeFileSync(`${root}/made`, "");
      expect(fs.readdirSync(at("layers")).sort()).toEqual(["low", "upper", "work"]);
      expect(fs.statSync(at("layers/upper/made")).uid).toBe(1000);
      expect(mountedAt()).toEqual(["layers", "bundle", "bundle/rootfs"]);
      unmountAll(root);
      expect(() => mountMapped(overlay(at("layers/none")), root, `/proc/self/fd/${namespace}`)).toThrow(
        "mount",
      );
      expect(mountedAt()).toEqual(["layers", "bundle"]);
    } finally {
      unmountAll(root);
      fs.closeSync(namespace);
    }
  },
);
