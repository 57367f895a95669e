import net from "node:net";
import { CliError } from "../cli-error.ts";

export interface IpamConfig {
  Subnet: string;
  IPRange: string;
  Gateway: string;
  AuxiliaryAddresses: Record<string, string>;
}

/**
 * Put ranges, gateways and addresses to the subnets that they belong to, as docker's `consolidateIpam` does.
 *
 * @throws CliError in Docker's words for what belongs to none, or is the second of a subnet
 */
export function ipamConfigs(given: {
  readonly subnets: readonly string[];
  readonly ranges: readonly string[];
  readonly gateways: readonly string[];
  readonly auxiliary: Readonly<Record<string, string>>;
}): IpamConfig[] {
  const { subnets, ranges, gateways, auxiliary } = given;
  if (subnets.length < ranges.length || subnets.length < gateways.length)
    throw new CliError("every ip-range or gateway must have a corresponding subnet");
  const configs = subnets.map(
    (Subnet): IpamConfig => ({ Subnet, IPRange: "", Gateway: "", AuxiliaryAddresses: {} }),
  );
  const owner = (address: string, what: string, shown: string) => {
    const found = configs.find(({ Subnet }) => contains(Subnet, address));
    if (!found) throw new CliError(`no matching subnet for ${what} ${shown}`);
    return found;
  };
  for (const range of ranges) {
    const config = owner(range.split("/")[0] ?? "", "range", range);
    const { IPRange, Subnet } = config;
    if (IPRange !== "")
      throw new CliError(
        `cannot configure multiple ranges (${range}, ${IPRange}) on the same subnet (${Subnet})`,
      );
    config.IPRange = range;
  }
  for (const gateway of gateways) {
    const config = owner(gateway, "gateway", gateway);
    const { Gateway, Subnet } = config;
    if (Gateway !== "") {
      throw new CliError(
        `cannot configure multiple gateways (${gateway}, ${Gateway}) for the same subnet (${Subnet})`,
      );
    }
    config.Gateway = gateway;
  }
  for (const [name, address] of Object.entries(auxiliary))
    owner(address, "aux-address", address).AuxiliaryAddresses[name] = address;
  return configs;
}

function contains(subnet: string, address: string): boolean {
  const [base = "", prefix] = subnet.split("/");
  const family = net.isIPv6(base) ? "ipv6" : "ipv4";
  if (!net.isIP(base) || prefix === undefined || !/^\d{1,3}$/.test(prefix)) {
    throw new CliError(`invalid subnet ${subnet} : invalid CIDR address: ${subnet}`);
  }
  if (net.isIPv6(address) !== (family === "ipv6") || net.isIP(address) === 0) return false;
  const list = new net.BlockList();
  list.addSubnet(base, Number(prefix), family);
  return list.check(address, family);
}
