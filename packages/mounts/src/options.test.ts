import { expect, test } from "bun:test";
import {
  MOUNT_ATTR__ATIME,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  MS_SLAVE,
} from "@longshore/syscalls";
import { knownOptions, parseOptions, parsePropagation } from "./index.ts";

const refuse = (option: string): never => {
  throw new Error(`refused ${option}`);
};

test("parseOptions() sorts flags from the file system's own options", () => {
  const options = parseOptions(["nosuid", "ro", "size=64k", "mode=755", "sync", "rslave", "rbind"], refuse);
  expect(options.attributes).toEqual({ set: MOUNT_ATTR_NOSUID | MOUNT_ATTR_RDONLY, clear: 0 });
  expect(options.data).toEqual(["size=64k", "mode=755"]);
  expect(options.superblock).toEqual(["sync"]);
  expect(options.propagation).toEqual([{ type: MS_SLAVE, recursive: true }]);
  expect([options.bind, options.recursive]).toEqual([true, true]);
});

test("parseOptions() lets a later option win, and changes access times as a whole", () => {
  expect(parseOptions(["ro", "rw"], refuse).attributes).toEqual({ set: 0, clear: MOUNT_ATTR_RDONLY });
  expect(parseOptions(["relatime", "noatime"], refuse).attributes).toEqual({
    set: MOUNT_ATTR_NOATIME,
    clear: MOUNT_ATTR__ATIME,
  });
});

test("parseOptions() keeps recursive attributes apart and refuses what isn't supported by name", () => {
  expect(parseOptions(["rro"], refuse).recursiveAttributes.set).toBe(MOUNT_ATTR_RDONLY);
  expect(() => parseOptions(["idmap"], refuse)).toThrow("refused idmap");
});

test("knownOptions() lists both forms; parsePropagation() knows no other words", () => {
  expect(knownOptions()).toContain("rnosuid");
  expect(parsePropagation("ro")).toBeUndefined();
});
