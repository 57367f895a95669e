import { EngineError } from "@longshore/errors";
import { FAMILY_OPTIONS, OPTION } from "./bridge-network.ts";
import { newId } from "./ids.ts";
import {
  broadcastOf,
  contains,
  formatIpv4,
  formatSubnet,
  type Ipv4,
  overlap,
  parseCidr,
  parseIpv4,
  type Subnet,
} from "./ipv4.ts";
import type { Subnet6 } from "./ipv6.ts";
import { planIpv6 } from "./ipv6-plan.ts";
import type { NetworkRecord } from "./records.ts";
import { type AddressPoolSetting, chooseSubnet } from "./subnet-choice.ts";
import type { CreateNetwork } from "./types.ts";

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
const LINK = /^[a-zA-Z][\w.-]{0,14}$/;
const MTU_MIN = 68;
const MTU_MAX = 65_535;
const BOOLEANS: Readonly<Record<string, string>> = {
  true: "true",
  false: "false",
  "1": "true",
  "0": "false",
};

/** @throws EngineError `invalid_argument` for what can't be a network's name */
export function checkName(name: string): void {
  if (NAME.test(name)) return;
  throw new EngineError(
    "invalid_argument",
    `invalid network name "${name}": only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
  );
}

/**
 * Work out a network as it was asked for, in Docker's words where that can't be.
 *
 * @param inUse networks that the host, or other networks of ours, use
 * @param pools where subnets come from that nobody named; Docker's default ones when empty
 * @throws EngineError `invalid_argument`, `permission_denied` for a subnet in use, `resource_exhausted`
 */
export function planNetwork(
  request: CreateNetwork,
  inUse: { readonly ipv4: readonly Subnet[]; readonly ipv6: readonly Subnet6[] },
  mac: string,
  pools: readonly AddressPoolSetting[] = [],
): NetworkRecord {
  const { internal, attachable, labels } = request;
  const id = newId();
  const options = checkOptions(request.options);
  const address = request.withoutIpv4
    ? withoutAddresses(request)
    : checkAddresses(request, inUse.ipv4, pools);
  const plan6 = request.ipam6 && planIpv6(request.ipam6, inUse.ipv6);
  return {
    ...{ id, driver: "bridge", created: new Date().toISOString() },
    bridge: {
      subnet: address.subnet ? formatSubnet(address.subnet) : "",
      ...{ gateway: address.subnet ? formatIpv4(address.gateway) : "", mac },
      ...(plan6 && { ipv6: plan6.ipv6 }),
    },
    user: {
      link: options[OPTION.link] ?? `br-${id.slice(0, 12)}`,
      ...(address.ipRange && { ipRange: formatSubnet(address.ipRange) }),
      ...(plan6?.ipRange6 !== undefined && { ipRange6: plan6.ipRange6 }),
      auxiliary: { ...address.auxiliary, ...request.ipam6?.auxiliary },
      ...{ internal, attachable, options, labels },
      ...(request.configFrom !== undefined && { configFrom: request.configFrom }),
    },
  };
}

/** @throws EngineError `invalid_argument` for a network that would have no family at all, or is told addresses of the one it hasn't */
export function withoutAddresses({ ipam, ipam6 }: CreateNetwork) {
  if (!ipam6) throw new EngineError("invalid_argument", "IPv4 or IPv6 must be enabled");
  const { subnet, ipRange, gateway, auxiliary } = ipam;
  const said = subnet || ipRange || gateway || Object.values(auxiliary)[0];
  if (said) throw new EngineError("invalid_argument", `${said} is of IPv4, which the network is not to have`);
  return { subnet: undefined, gateway: 0, ipRange: undefined, auxiliary: {} };
}

/** What a request says of IPv4, completed. @throws EngineError `invalid_argument`, `permission_denied`, `resource_exhausted` */
export function checkAddresses(
  { ipam }: Pick<CreateNetwork, "ipam">,
  inUse: readonly Subnet[],
  pools: readonly AddressPoolSetting[],
) {
  const subnet = ipam.subnet === "" ? chooseSubnet(inUse, pools) : givenSubnet(ipam.subnet, inUse);
  const within = (text: string, what: string): Ipv4 => {
    const address = parseIpv4(text);
    if (address === undefined) throw new EngineError("invalid_argument", `invalid ${what}: ${text}`);
    if (!contains(subnet, address)) {
      const where = formatSubnet(subnet);
      throw new EngineError("invalid_argument", `invalid ${what} ${text}: parent subnet is ${where}`);
    }
    return address;
  };
  const ipRange = ipam.ipRange === "" ? undefined : parseCidr(ipam.ipRange).subnet;
  if (ipRange && (!contains(subnet, ipRange.base) || !contains(subnet, broadcastOf(ipRange)))) {
    throw new EngineError(
      "invalid_argument",
      `invalid ip-range ${ipam.ipRange}: it is not contained in the subnet ${formatSubnet(subnet)}`,
    );
  }
  const first = (ipRange ?? subnet).base;
  const gateway =
    ipam.gateway === ""
      ? first === subnet.base
        ? first + 1
        : first
      : within(ipam.gateway, "gateway address");
  for (const [name, address] of Object.entries(ipam.auxiliary)) within(address, `auxiliary address ${name}`);
  return { subnet, gateway, ipRange, auxiliary: ipam.auxiliary };
}

function givenSubnet(text: string, inUse: readonly Subnet[]): Subnet {
  const { address, subnet } = parseCidr(text);
  if (subnet.prefixLength > 30) {
    throw new EngineError("invalid_argument", `invalid subnet ${text}: it has no room for containers`);
  }
  if (address !== subnet.base) {
    throw new EngineError("invalid_argument", `invalid subnet ${text}: it should be ${formatSubnet(subnet)}`);
  }
  if (inUse.some((other) => overlap(other, subnet))) {
    throw new EngineError("permission_denied", "Pool overlaps with other one on this address space");
  }
  return subnet;
}

/** The driver's options, each of which is carried out. */
function checkOptions(options: Readonly<Record<string, string>>): Record<string, string> {
  const checked: Record<string, string> = {};
  for (const [key, value] of Object.entries(options)) checked[key] = checkOption(key, value);
  return checked;
}

function checkOption(key: string, value: string): string {
  if (FAMILY_OPTIONS.includes(key)) return value;
  const refuse = () =>
    new EngineError("invalid_argument", `invalid value for option ${key}: ${JSON.stringify(value)}`);
  switch (key) {
    case OPTION.icc:
    case OPTION.masquerade: {
      const known = BOOLEANS[value.toLowerCase()];
      if (known === undefined) throw refuse();
      return known;
    }
    case OPTION.hostBinding:
      if (parseIpv4(value) === undefined) throw refuse();
      return value;
    case OPTION.link:
      if (!LINK.test(value)) throw refuse();
      return value;
    case OPTION.mtu:
      if (!/^\d+$/.test(value) || Number(value) < MTU_MIN || Number(value) > MTU_MAX) throw refuse();
      return value;
    default:
      throw new EngineError("invalid_argument", `network option ${key} is not supported`);
  }
}
