import { expect, test } from "bun:test";
import { type IpamConfig, validateIpam } from "./validate-ipam.ts";

const check = (config: Partial<IpamConfig>) =>
  validateIpam([{ Subnet: "10.1.0.0/16", IPRange: "", Gateway: "", AuxiliaryAddresses: {}, ...config }]);

test("validateIpam() takes what fits together, of both families", () => {
  check({ IPRange: "10.1.2.0/24", Gateway: "10.1.0.1", AuxiliaryAddresses: { router: "10.1.255.254" } });
  check({ Subnet: "fd00:1:2::/64", Gateway: "fd00:1:2::1", IPRange: "fd00:1:2:0:8000::/65" });
  validateIpam([]);
});

test("validateIpam() refuses the rest in Docker's words", () => {
  const refuses = (config: Partial<IpamConfig>, words: string) =>
    expect(() => check(config)).toThrow(`invalid network config:\n${words}`);
  refuses({ Subnet: "10.1.0.0" }, "invalid subnet 10.1.0.0: invalid CIDR block notation");
  refuses({ Subnet: "10.1.2.3/16" }, "invalid subnet 10.1.2.3/16: it should be 10.1.0.0/16");
  refuses({ Subnet: "fd00::1/64" }, "invalid subnet fd00::1/64: it should be fd00::/64");
  refuses({ IPRange: "10.1.2.0/33" }, "invalid ip-range 10.1.2.0/33: invalid CIDR block notation");
  refuses(
    { IPRange: "10.0.0.0/8" },
    "invalid ip-range 10.0.0.0/8: CIDR block is bigger than its parent subnet 10.1.0.0/16",
  );
  refuses({ IPRange: "10.1.2.3/24" }, "invalid ip-range 10.1.2.3/24: it should be 10.1.2.0/24");
  refuses(
    { IPRange: "10.2.0.0/24" },
    "invalid ip-range 10.2.0.0/24: parent subnet 10.1.0.0/16 doesn't contain ip-range",
  );
  refuses({ IPRange: "fd00::/64" }, "invalid ip-range fd00::/64: parent subnet is an IPv4 block");
  refuses({ Gateway: "none" }, "invalid gateway none: invalid address");
  refuses({ Gateway: "fd00::1" }, "invalid gateway fd00::1: parent subnet is an IPv4 block");
  refuses(
    { Gateway: "10.2.0.1", AuxiliaryAddresses: { a: "10.3.0.1" } },
    [
      "* invalid gateway 10.2.0.1: parent subnet 10.1.0.0/16 doesn't contain this address",
      "* invalid auxiliary address a: parent subnet 10.1.0.0/16 doesn't contain this address",
    ].join("\n"),
  );
});
