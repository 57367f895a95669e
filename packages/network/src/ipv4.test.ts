import { expect, test } from "bun:test";
import fc from "fast-check";
import { formatIpv4, formatSubnet, ipv4Bytes, ipv4FromBytes, overlap, parseCidr, parseIpv4 } from "./ipv4.ts";

const addresses = fc.integer({ min: 0, max: 2 ** 32 - 1 });

test("addresses survive being written as text and as bytes", () => {
  fc.assert(
    fc.property(addresses, (address) => {
      expect(parseIpv4(formatIpv4(address))).toBe(address);
      expect(ipv4FromBytes(ipv4Bytes(address))).toBe(address);
    }),
  );
});

test("parseIpv4() takes nothing but four decimal numbers", () => {
  for (const text of ["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", "::1", "1.2.3.x"])
    expect(parseIpv4(text)).toBeUndefined();
});

test("parseCidr() splits an address and its network", () => {
  const { address, subnet } = parseCidr("192.168.37.5/20");
  expect([formatIpv4(address), formatSubnet(subnet)]).toEqual(["192.168.37.5", "192.168.32.0/20"]);
  for (const text of ["1.2.3.4", "1.2.3.4/33", "1.2.3/8", "1.2.3.4/-1", "/8"])
    expect(() => parseCidr(text)).toThrow(`invalid CIDR address: ${text}`);
});

test("overlap() is true for networks that share an address", () => {
  const meets = (a: string, b: string) => overlap(parseCidr(a).subnet, parseCidr(b).subnet);
  expect(meets("10.0.0.0/8", "10.5.0.0/16")).toBe(true);
  expect(meets("10.5.0.0/16", "10.0.0.0/8")).toBe(true);
  expect(meets("10.5.0.0/16", "10.6.0.0/16")).toBe(false);
});
