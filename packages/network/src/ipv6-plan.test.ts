import { expect, test } from "bun:test";
import { parseCidr6 } from "./ipv6.ts";
import { planIpv6 } from "./ipv6-plan.ts";

const ipam = (given: object = {}) => ({ subnet: "", ipRange: "", gateway: "", auxiliary: {}, ...given });

test("planIpv6() takes what was asked for, and chooses the rest", () => {
  expect(planIpv6(ipam({ subnet: "FD00:1:0::/64" }), [])).toEqual({
    ipv6: { subnet: "fd00:1::/64", gateway: "fd00:1::1" },
  });
  const range = { subnet: "fd00::/64", ipRange: "fd00::100/120", gateway: "fd00::9" };
  expect(planIpv6(ipam(range), [])).toEqual({
    ipv6: { subnet: "fd00::/64", gateway: "fd00::9" },
    ipRange6: "fd00::100/120",
  });
  const [one, two] = [planIpv6(ipam(), []), planIpv6(ipam(), [])];
  expect(one.ipv6.subnet).toMatch(/^fd[0-9a-f:]+::\/64$/);
  expect(one.ipv6.subnet).not.toBe(two.ipv6.subnet);
});

test("planIpv6() refuses what can't be", () => {
  const inUse = [parseCidr6("fd00::/48").subnet];
  const refused = (given: object) => () => planIpv6(ipam(given), inUse);
  expect(refused({ subnet: "fd00:0:0:1::/64" })).toThrow("Pool overlaps with other one");
  expect(refused({ subnet: "fd01::1/64" })).toThrow("it should be fd01::/64");
  expect(refused({ subnet: "fd01::/127" })).toThrow("no room");
  expect(refused({ subnet: "10.0.0.0/8" })).toThrow("invalid CIDR address: 10.0.0.0/8");
  expect(refused({ subnet: "fd01::/64", gateway: "fd02::1" })).toThrow("invalid gateway address fd02::1");
  expect(refused({ subnet: "fd01::/64", ipRange: "fd02::/80" })).toThrow("invalid ip-range fd02::/80");
  expect(refused({ subnet: "fd01::/64", auxiliary: { a: "x" } })).toThrow("auxiliary address a: x");
});
