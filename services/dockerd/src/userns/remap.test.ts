import { expect, test } from "bun:test";
import { findRemap, type UserDatabase } from "./remap.ts";

const files: UserDatabase = {
  passwd: "root:x:0:0::/root:/bin/sh\nhelper:x:1005:1006::/:/bin/false\ndockremap:x:99:98::/:/bin/false\n",
  group: "root:x:0:\nhelper:x:1006:\nothers:x:1005:\ndockremap:x:98:\n",
  subuid: "# ranges\nhelper:300000:10\nhelper:100000:65536\ndockremap:200000:65536\n",
  subgid: "1006:400000:65536\nothers:500000:65536\ndockremap:200000:65536\nbroken:x:1\n",
};

test("findRemap() finds users and groups by name and number, and their ranges one after the other", () => {
  expect(findRemap("helper", files)).toEqual({
    user: "helper",
    group: "helper",
    uidMappings: [
      { containerID: 0, hostID: 100_000, size: 65_536 },
      { containerID: 65_536, hostID: 300_000, size: 10 },
    ],
    gidMappings: [{ containerID: 0, hostID: 400_000, size: 65_536 }],
  });
  expect(findRemap("1005", files)).toMatchObject({ user: "helper", group: "others" });
  expect(findRemap("helper:others", files)?.gidMappings[0]?.hostID).toBe(500_000);
  expect(findRemap("1005:1006", files)).toMatchObject({ user: "helper", group: "helper" });
  expect(findRemap("default", files)).toMatchObject({ user: "dockremap", group: "dockremap" });
  expect(findRemap("root", files)).toBeUndefined();
});

test.each([
  ["a:b:c", 'Invalid userns-remap specification in "a:b:c"'],
  [":", "Invalid userns-remap specification"],
  ["nobody", 'Error during uid lookup for "nobody"'],
  ["7", "Uid 7 has no entry in /etc/passwd"],
  ["99", "Gid 99 has no entry in /etc/group"],
  ["helper:7", "Gid 7 has no entry in /etc/group"],
  ["helper:none", 'Error during gid lookup for "none"'],
  ["dockremap:root", 'Can\'t create ID mappings: No subgid ranges found for group "root"'],
])("findRemap() refuses %s", (wanted, why) => {
  expect(() => findRemap(wanted, files)).toThrow(why);
});
