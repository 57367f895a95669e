import { expect, test } from "bun:test";
import { formatIpv6, parseCidr6 } from "./ipv6.ts";
import { Ipv6Pool } from "./ipv6-pool.ts";

const take = (pool: Ipv6Pool) => {
  const address = pool.take();
  return address === undefined ? undefined : formatIpv6(address);
};

test("Ipv6Pool goes round its subnet and hands nothing out twice", () => {
  const { subnet } = parseCidr6("fd00::/126");
  const pool = new Ipv6Pool(subnet, [parseCidr6("fd00::1/126").address]);
  expect([take(pool), take(pool), take(pool)]).toEqual(["fd00::2", "fd00::3", undefined]);
  pool.release(parseCidr6("fd00::2/126").address);
  expect([take(pool), take(pool)]).toEqual(["fd00::2", undefined]);
});

test("Ipv6Pool: a range for those who ask for nothing, and addresses by name", () => {
  const { subnet } = parseCidr6("fd00::/64");
  const pool = new Ipv6Pool(subnet, [], parseCidr6("fd00::100/120").subnet);
  expect(pool.claim(parseCidr6("fd00::100/64").address)).toBe(true);
  expect(pool.claim(parseCidr6("fd00::100/64").address)).toBe(false);
  expect(pool.claim(parseCidr6("fd01::1/64").address)).toBe(false);
  pool.restore([parseCidr6("fd00::101/64").address, parseCidr6("fd01::9/64").address]);
  expect(take(pool)).toBe("fd00::102");
});

test("Ipv6Pool.count() counts what is taken of the subnet, and what is free of the range", () => {
  const { subnet } = parseCidr6("2001:db8:abcd::/64");
  const reserved = ["1", "2a", "8000"].map((host) => parseCidr6(`2001:db8:abcd::${host}/64`).address);
  const pool = new Ipv6Pool(subnet, reserved, parseCidr6("2001:db8:abcd::/120").subnet);
  expect(pool.count()).toEqual({ inUse: 4n, available: 253n });
  pool.take();
  pool.claim(parseCidr6("2001:db8:abcd::9000/64").address);
  expect(pool.count()).toEqual({ inUse: 6n, available: 252n });
  const whole = new Ipv6Pool(parseCidr6("fd00::/56").subnet, [parseCidr6("fd00::1/56").address]);
  expect(whole.count()).toEqual({ inUse: 2n, available: 2n ** 72n - 2n });
});
