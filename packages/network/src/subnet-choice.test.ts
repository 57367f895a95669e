import { expect, test } from "bun:test";
import { formatSubnet, parseCidr } from "./ipv4.ts";
import { chooseSubnet } from "./subnet-choice.ts";

const choose = (...inUse: string[]) =>
  formatSubnet(chooseSubnet(inUse.map((text) => parseCidr(text).subnet)));

test("chooseSubnet() takes the first pool that meets nothing in use", () => {
  expect(choose()).toBe("172.17.0.0/16");
  expect(choose("172.17.0.0/16", "172.18.255.255/32")).toBe("172.19.0.0/16");
  expect(choose("172.16.0.0/12")).toBe("192.168.0.0/20");
  expect(choose("172.16.0.0/12", "192.168.1.0/24")).toBe("192.168.16.0/20");
  expect(() => choose("172.16.0.0/12", "192.168.0.0/16")).toThrow("fully subnetted");
});
