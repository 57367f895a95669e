import { expect, test } from "bun:test";
import { resolveUser } from "./user.ts";

const files = {
  passwd: "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n# note\nbroken\n",
  group: "root:x:0:\napp:x:1001:\nextra:x:2000:app,root\n",
};

test("resolveUser() takes names and ids, with the user's groups", () => {
  expect(resolveUser("", files)).toEqual({ uid: 0, gid: 0, additionalGids: [0, 2000] });
  expect(resolveUser("app", files)).toEqual({ uid: 1000, gid: 1001, additionalGids: [1001, 2000] });
  expect(resolveUser("1000", files)).toEqual({ uid: 1000, gid: 1001, additionalGids: [1001, 2000] });
  expect(resolveUser("4711", files)).toEqual({ uid: 4711, gid: 0, additionalGids: [0] });
});

test("resolveUser() with a group takes only that, and what was added", () => {
  expect(resolveUser("app:extra", files)).toEqual({ uid: 1000, gid: 2000, additionalGids: [2000] });
  expect(resolveUser("app:7", files, ["extra", "8"]).additionalGids).toEqual([7, 2000, 8]);
});

test("resolveUser() refuses who isn't there", () => {
  expect(() => resolveUser("nobody", files)).toThrow(
    "unable to find user nobody: no matching entries in passwd file",
  );
  expect(() => resolveUser("app:none", files)).toThrow(
    "unable to find group none: no matching entries in group file",
  );
  expect(() => resolveUser("99999999999", files)).toThrow("uids and gids must be in range");
});

test("resolveUser() takes digits as ids, whatever the files call so", () => {
  const names = {
    passwd: "1000:x:0:0::/:/bin/sh\n99999999999:x:0:0::/:/bin/sh\nwide:x:4294967296:0::/:/bin/sh\n",
    group: "7:x:0:\n4294967297:x:0:\nwide:x:4294967296:\n",
  };
  expect(resolveUser("1000", names)).toEqual({ uid: 1000, gid: 0, additionalGids: [0] });
  expect(resolveUser("1000:7", names, ["7"])).toEqual({ uid: 1000, gid: 7, additionalGids: [7] });
  for (const user of ["99999999999", "-1", "1:4294967297", "wide", "1:wide", `1${"0".repeat(400)}`]) {
    expect(() => resolveUser(user, names)).toThrow("uids and gids must be in range");
  }
});
