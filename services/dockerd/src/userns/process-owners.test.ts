import { expect, test } from "bun:test";
import { makeOwners, ownersOf, parseRanges } from "./process-owners.ts";

test("makeOwners() translates both ways; what has no name is nobody's, and can't be given", () => {
  const uid = parseRanges("         0     100000      65536\n     65536     300000         10\n");
  const owners = makeOwners({ uid, gid: parseRanges("0 200000 65536\n") });
  expect([100_000, 100_033, 300_009, 300_010, 0].map((id) => owners.inside("uid", id))).toEqual([
    0, 33, 65_545, 65_534, 65_534,
  ]);
  expect(owners.inside("gid", 200_007)).toBe(7);
  expect(owners.outside("uid", 65_537)).toBe(300_001);
  expect(owners.outside("gid", 5)).toBe(200_005);
  expect(() => owners.outside("gid", 65_536)).toThrow("Container ID 65536 cannot be mapped to a host ID");
});

test("ownersOf() has nothing to translate for a process with the host's ids", () => {
  expect(ownersOf(1)).toBeUndefined();
});
