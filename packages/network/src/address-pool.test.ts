import { expect, test } from "bun:test";
import fc from "fast-check";
import { AddressPool } from "./address-pool.ts";
import { broadcastOf, contains, type Ipv4, parseCidr, subnetOf, subnetSize } from "./ipv4.ts";

const subnets = fc
  .record({
    address: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    prefixLength: fc.integer({ min: 24, max: 29 }),
  })
  .map(({ address, prefixLength }) => subnetOf(address, prefixLength));

test("AddressPool never has an address twice, nor one that is no host's", () => {
  const steps = fc.array(fc.oneof(fc.constant("take" as const), fc.nat(50)), { maxLength: 400 });
  fc.assert(
    fc.property(subnets, steps, (subnet, script) => {
      const gateway = subnet.base + 1;
      const pool = new AddressPool(subnet, [gateway]);
      const held: Ipv4[] = [];
      for (const step of script) {
        if (step === "take") {
          const address = pool.take();
          if (address === undefined) {
            expect(held.length).toBe(subnetSize(subnet.prefixLength) - 3);
            continue;
          }
          expect(contains(subnet, address)).toBe(true);
          expect([subnet.base, gateway, broadcastOf(subnet), ...held]).not.toContain(address);
          held.push(address);
        } else {
          const [released] = held.splice(step % Math.max(1, held.length), 1);
          if (released !== undefined) pool.release(released);
        }
      }
    }),
  );
});

test("AddressPool lets a released address rest while there are others", () => {
  const { subnet } = parseCidr("10.0.0.0/29");
  const pool = new AddressPool(subnet, [subnet.base + 1]);
  const first = pool.take();
  if (first !== undefined) pool.release(first);
  const next = [1, 2, 3, 4].map(() => pool.take());
  expect(next).not.toContain(first);
  expect(pool.take()).toBe(first);
  expect(pool.take()).toBeUndefined();
});

test("AddressPool.restore() takes what was handed out before, and goes on behind it", () => {
  const { subnet } = parseCidr("10.0.0.0/24");
  const pool = new AddressPool(subnet, [subnet.base + 1]);
  pool.restore([subnet.base + 2, subnet.base + 40, parseCidr("10.9.9.9/32").address]);
  expect(pool.take()).toBe(subnet.base + 41);
});

test("AddressPool.count() counts what is taken of the subnet, and what is free of the range", () => {
  const { subnet } = parseCidr("192.168.0.0/24");
  const reserved = [1, 65, 128].map((host) => subnet.base + host);
  const pool = new AddressPool(subnet, [...reserved, parseCidr("10.0.0.1/8").address], {
    base: subnet.base + 64,
    prefixLength: 31,
  });
  expect(pool.count()).toEqual({ inUse: 5n, available: 1n });
  const taken = pool.take();
  expect(pool.count()).toEqual({ inUse: 6n, available: 0n });
  pool.claim(subnet.base + 129);
  expect(pool.count()).toEqual({ inUse: 7n, available: 0n });
  if (taken !== undefined) pool.release(taken);
  expect(pool.count()).toEqual({ inUse: 6n, available: 1n });
});
