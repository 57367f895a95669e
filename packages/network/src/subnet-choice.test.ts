import { expect, test } from "bun:test";
import { formatSubnet, parseCidr } from "./ipv4.ts";
import { checkPools, chooseSubnet, countFree } from "./subnet-choice.ts";

const choose = (...inUse: string[]) =>
  formatSubnet(chooseSubnet(inUse.map((text) => parseCidr(text).subnet)));

test("chooseSubnet() takes the first pool that meets nothing in use", () => {
  expect(choose()).toBe("172.17.0.0/16");
  expect(choose("172.17.0.0/16", "172.18.255.255/32")).toBe("172.19.0.0/16");
  expect(choose("172.16.0.0/12")).toBe("192.168.0.0/20");
  expect(choose("172.16.0.0/12", "192.168.1.0/24")).toBe("192.168.16.0/20");
  expect(() => choose("172.16.0.0/12", "192.168.0.0/16")).toThrow("fully subnetted");
});

test("chooseSubnet() takes the pools that it is given, and names them when they are used up", () => {
  const pools = [{ base: "10.9.0.0/23", size: 24 }];
  const inUse = ["10.9.0.0/24"].map((text) => parseCidr(text).subnet);
  expect(formatSubnet(chooseSubnet(inUse, pools))).toBe("10.9.1.0/24");
  expect(countFree(inUse, pools, 4)).toBe(1);
  expect(countFree([], [], 4)).toBe(4);
  inUse.push(parseCidr("10.9.1.7/32").subnet);
  expect(countFree(inUse, pools, 4)).toBe(0);
  expect(() => chooseSubnet(inUse, pools)).toThrow("use all of 10.9.0.0/23 in /24");
});

test("checkPools() refuses what is no pool", () => {
  expect(() => checkPools([{ base: "10.9.0.0", size: 24 }])).toThrow("invalid CIDR address: 10.9.0.0");
  expect(() => checkPools([{ base: "10.9.1.0/16", size: 24 }])).toThrow("the base should be 10.9.0.0/16");
  expect(() => checkPools([{ base: "10.9.0.0/16", size: 8 }])).toThrow("the size must be 16 to 30");
});
