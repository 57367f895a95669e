import { expect, test } from "bun:test";
import {
  MOUNT_ATTR__ATIME,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NOSYMFOLLOW,
  MOUNT_ATTR_RDONLY,
  MS_BIND,
  MS_NOATIME,
  MS_NODEV,
  MS_NOSUID,
  MS_RDONLY,
  MS_REC,
  MS_RELATIME,
  MS_SLAVE,
  MS_STRICTATIME,
  MS_SYNCHRONOUS,
} from "@longshore/syscalls";
import {
  attributesOf,
  bindChange,
  flagNames,
  flagsOfStatfs,
  knownOptions,
  parseOptions,
  parsePropagation,
  superblockWords,
} from "./index.ts";

test("parseOptions() sorts flags from the file system's own options", () => {
  const options = parseOptions([
    "nosuid",
    "ro",
    "size=64k",
    "mode=755",
    "sync",
    "rslave",
    "rbind",
    "defaults",
  ]);
  expect(options.flags).toBe(MS_NOSUID | MS_RDONLY | MS_SYNCHRONOUS | MS_BIND | MS_REC);
  expect(options.data).toEqual(["size=64k", "mode=755"]);
  expect(options.propagation).toEqual([{ type: MS_SLAVE, recursive: true }]);
  expect(superblockWords(options.flags)).toEqual(["sync"]);
});

test("parseOptions() lets a later option win and remembers what was cleared", () => {
  expect(parseOptions(["ro", "rw"])).toMatchObject({ flags: 0, cleared: MS_RDONLY });
  expect(parseOptions(["rw", "ro"])).toMatchObject({ flags: MS_RDONLY, cleared: 0 });
  expect(parseOptions(["ridmap", "idmap"]).idMap).toBe("top");
});

test("parseOptions() keeps recursive attributes apart, access times as a whole", () => {
  expect(parseOptions(["rro", "rnosuid", "rsuid"]).recursiveAttributes).toEqual({
    set: MOUNT_ATTR_RDONLY,
    clear: MOUNT_ATTR_NOSUID,
  });
  expect(parseOptions(["rstrictatime", "rnoatime"]).recursiveAttributes).toEqual({
    set: MOUNT_ATTR_NOATIME,
    clear: MOUNT_ATTR__ATIME,
  });
});

test("bindChange() takes away what isn't asked for, and leaves access times that aren't", () => {
  const rest = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSYMFOLLOW;
  expect(bindChange(MS_RDONLY)).toEqual({ set: MOUNT_ATTR_RDONLY, clear: rest });
  expect(bindChange(MS_NOATIME).clear).toBe(
    rest | MOUNT_ATTR_RDONLY | MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME,
  );
  expect(attributesOf(MS_NOATIME)).toBe(MOUNT_ATTR_NOATIME);
});

test("flagsOfStatfs() gives a mount without a mode of access times the strict one", () => {
  expect(flagsOfStatfs(1 | 4 | 4096)).toBe(MS_RDONLY | MS_NODEV | MS_RELATIME);
  expect(flagsOfStatfs(2)).toBe(MS_NOSUID | MS_STRICTATIME);
  expect(flagNames(MS_RDONLY | MS_BIND)).toBe("MS_RDONLY|MS_BIND");
});

test("knownOptions() lists both forms; parsePropagation() knows no other words", () => {
  expect(knownOptions()).toContain("rnosuid");
  expect(knownOptions()).toContain("ridmap");
  expect(parsePropagation("ro")).toBeUndefined();
});
