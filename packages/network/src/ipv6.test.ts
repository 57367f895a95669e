import { expect, test } from "bun:test";
import {
  contains6,
  formatIpv6,
  formatSubnet6,
  ipv6Bytes,
  ipv6FromBytes,
  overlap6,
  parseCidr6,
  parseIpv6,
} from "./ipv6.ts";

test("parseIpv6() and formatIpv6() agree, in the form of RFC 5952", () => {
  const canonical = {
    "::": "::",
    "::1": "::1",
    "FD00:0:0:0::0001": "fd00::1",
    "2001:db8:0:0:1:0:0:1": "2001:db8::1:0:0:1",
    "2001:db8:0:1:1:1:1:1": "2001:db8:0:1:1:1:1:1",
    "1:2:3:4:5:6:7:8": "1:2:3:4:5:6:7:8",
    "::ffff:10.1.2.3": "::ffff:a01:203",
    "1::": "1::",
  };
  for (const [text, wanted] of Object.entries(canonical)) {
    const address = parseIpv6(text);
    expect(address === undefined ? text : formatIpv6(address)).toBe(wanted);
    expect(ipv6FromBytes(ipv6Bytes(address ?? 0n))).toBe(address ?? -1n);
  }
  for (const text of ["", "1", "10.1.2.3", "1::2::3", "g::", "fe80::1%eth0", "1:2:3:4:5:6:7:8:9"])
    expect(parseIpv6(text)).toBeUndefined();
});

test("networks of IPv6", () => {
  const { address, subnet } = parseCidr6("fd00:1::5/64");
  expect([formatIpv6(address), formatSubnet6(subnet)]).toEqual(["fd00:1::5", "fd00:1::/64"]);
  expect(contains6(subnet, parseIpv6("fd00:1::ffff") ?? 0n)).toBe(true);
  expect(contains6(subnet, parseIpv6("fd00:1:0:1::") ?? 0n)).toBe(false);
  expect(overlap6(subnet, parseCidr6("fd00::/16").subnet)).toBe(true);
  expect(overlap6(subnet, parseCidr6("fd00:1:0:1::/64").subnet)).toBe(false);
  expect(formatSubnet6(parseCidr6("::/0").subnet)).toBe("::/0");
  for (const text of ["fd00::1", "fd00::/129", "10.0.0.0/8", "fd00::/"])
    expect(() => parseCidr6(text)).toThrow(`invalid CIDR address: ${text}`);
});
