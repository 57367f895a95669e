import { expect, test } from "bun:test";
import { checkInterface, freeInterface } from "./placed.ts";

test("checkInterface() takes what the kernel has as a name, and nobody else", () => {
  for (const name of ["lan", "eth7", "a.b-c_d", "fifteen-letters", "h\u00e4user"])
    expect(checkInterface(name, ["eth0"])).toBe(name);
  for (const name of ["", ".", "..", "a/b", "a b", "a:b", "lan%d", "sixteen-letters-", "\u00e4".repeat(8)])
    expect(() => checkInterface(name, [])).toThrow("invalid interface name");
  for (const name of ["lo", "eth0"])
    expect(() => checkInterface(name, ["eth0"])).toThrow("interface name already in use");
});

test("freeInterface() comes after all that there are", () => {
  expect(freeInterface([])).toBe("eth0");
  expect(freeInterface(["lan", "eth3", "eth0x", "eth1"])).toBe("eth4");
});
