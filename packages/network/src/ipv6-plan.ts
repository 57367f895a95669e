import { randomBytes } from "node:crypto";
import { EngineError } from "@longshore/errors";
import {
  contains6,
  formatIpv6,
  formatSubnet6,
  type Ipv6,
  ipv6FromBytes,
  lastOf6,
  overlap6,
  parseCidr6,
  parseIpv6,
  type Subnet6,
  subnet6Of,
} from "./ipv6.ts";
import type { IpamRequest } from "./types.ts";

/** What is recorded of a network's IPv6. */
export interface Ipv6Plan {
  readonly ipv6: { readonly subnet: string; readonly gateway: string };
  readonly ipRange6?: string;
}

const LOCAL_PREFIX = 0xfd;
const LOCAL_PREFIX_LENGTH = 64;
/** One address for the gateway and one for a container, after the subnet's own. */
const LONGEST_PREFIX = 126;

/**
 * Work out a network's IPv6 as it was asked for; a subnet that nobody named is one of RFC 4193, chosen at random.
 *
 * @param inUse networks that the host, or other networks of ours, use
 * @throws EngineError `invalid_argument`, `permission_denied` for a subnet in use
 */
export function planIpv6(ipam: IpamRequest, inUse: readonly Subnet6[]): Ipv6Plan {
  const subnet = ipam.subnet === "" ? localSubnet(inUse) : givenSubnet(ipam.subnet, inUse);
  const within = (text: string, what: string): Ipv6 => {
    const address = parseIpv6(text);
    if (address === undefined) throw new EngineError("invalid_argument", `invalid ${what}: ${text}`);
    if (contains6(subnet, address)) return address;
    const where = formatSubnet6(subnet);
    throw new EngineError("invalid_argument", `invalid ${what} ${text}: parent subnet is ${where}`);
  };
  const ipRange = ipam.ipRange === "" ? undefined : parseCidr6(ipam.ipRange).subnet;
  if (ipRange && !(contains6(subnet, ipRange.base) && contains6(subnet, lastOf6(ipRange)))) {
    throw new EngineError(
      "invalid_argument",
      `invalid ip-range ${ipam.ipRange}: it is not contained in the subnet ${formatSubnet6(subnet)}`,
    );
  }
  const first = (ipRange ?? subnet).base;
  const usual = first === subnet.base ? first + 1n : first;
  const gateway = ipam.gateway === "" ? usual : within(ipam.gateway, "gateway address");
  for (const [name, address] of Object.entries(ipam.auxiliary)) within(address, `auxiliary address ${name}`);
  return {
    ipv6: { subnet: formatSubnet6(subnet), gateway: formatIpv6(gateway) },
    ...(ipRange && { ipRange6: formatSubnet6(ipRange) }),
  };
}

function givenSubnet(text: string, inUse: readonly Subnet6[]): Subnet6 {
  const { address, subnet } = parseCidr6(text);
  if (subnet.prefixLength > LONGEST_PREFIX)
    throw new EngineError("invalid_argument", `invalid subnet ${text}: it has no room for containers`);
  if (address !== subnet.base) {
    throw new EngineError(
      "invalid_argument",
      `invalid subnet ${text}: it should be ${formatSubnet6(subnet)}`,
    );
  }
  if (inUse.some((other) => overlap6(other, subnet)))
    throw new EngineError("permission_denied", "Pool overlaps with other one on this address space");
  return subnet;
}

function localSubnet(inUse: readonly Subnet6[]): Subnet6 {
  for (;;) {
    const bytes = Buffer.concat([Uint8Array.of(LOCAL_PREFIX), randomBytes(5), Buffer.alloc(10)]);
    const subnet = subnet6Of(ipv6FromBytes(bytes), LOCAL_PREFIX_LENGTH);
    if (!inUse.some((other) => overlap6(other, subnet))) return subnet;
  }
}
