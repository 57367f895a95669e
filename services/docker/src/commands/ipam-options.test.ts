import { expect, test } from "bun:test";
import { ipamConfigs } from "./ipam-options.ts";

const given = { subnets: ["10.1.0.0/16", "fd00::/64"], ranges: [], gateways: [], auxiliary: {} };

test("ipamConfigs() puts everything to its subnet", () => {
  expect(
    ipamConfigs({
      subnets: given.subnets,
      ranges: ["fd00::100/120", "10.1.2.0/24"],
      gateways: ["fd00::9", "10.1.0.9"],
      auxiliary: { a: "10.1.0.5", b: "fd00::5" },
    }),
  ).toEqual([
    {
      ...{ Subnet: "10.1.0.0/16", IPRange: "10.1.2.0/24", Gateway: "10.1.0.9" },
      AuxiliaryAddresses: { a: "10.1.0.5" },
    },
    {
      ...{ Subnet: "fd00::/64", IPRange: "fd00::100/120", Gateway: "fd00::9" },
      AuxiliaryAddresses: { b: "fd00::5" },
    },
  ]);
  expect(ipamConfigs({ ...given, subnets: [] })).toEqual([]);
});

test("ipamConfigs() refuses what belongs nowhere, or twice to the same", () => {
  const refused = (more: object) => () => ipamConfigs({ ...given, ...more });
  expect(refused({ subnets: [], gateways: ["10.1.0.1"] })).toThrow(
    "every ip-range or gateway must have a corresponding subnet",
  );
  expect(refused({ gateways: ["10.2.0.1"] })).toThrow("no matching subnet for gateway 10.2.0.1");
  expect(refused({ ranges: ["fd01::/80"] })).toThrow("no matching subnet for range fd01::/80");
  expect(refused({ gateways: ["fd00::1", "fd00::2"] })).toThrow(
    "cannot configure multiple gateways (fd00::2, fd00::1) for the same subnet (fd00::/64)",
  );
  expect(refused({ ranges: ["10.1.1.0/24", "10.1.2.0/24"] })).toThrow("cannot configure multiple ranges");
  expect(refused({ auxiliary: { a: "1.2.3.4" } })).toThrow("no matching subnet for aux-address 1.2.3.4");
  expect(refused({ subnets: ["x"], gateways: ["10.0.0.1"] })).toThrow("invalid CIDR address: x");
});
