import { ipv4Bytes, subnetMask } from "./ipv4.ts";
import { ipv6Bytes, subnet6Mask } from "./ipv6.ts";
import type { BridgeRules } from "./ruleset.ts";
import {
  accept,
  type Direction,
  drop,
  FAMILIES,
  inSet,
  isFamily,
  isLink,
  isLoopback,
  type Statement,
} from "./statements.ts";

export const BRIDGES_SET = "bridges";
export const INTERNAL_BRIDGES_SET = "internal_bridges";

/** Rules that drop packets with an address of loopback which do not come from this host itself. */
export const foreignLoopback: readonly Statement[] = (["destination", "source"] as const).map((place) => [
  ...isLink("iifname", "lo", false),
  ...isLoopback(place),
  drop,
]);

/** First byte and mask of IPv4 addresses that stay on the link: multicast and broadcast. */
const MANY4 = 0xe0;
/** The same of IPv6: multicast. */
const MANY6 = 0xff;
/** Link-local addresses of IPv6, `fe80::/10`. */
const LINK_LOCAL6 = { base: Uint8Array.of(0xfe, 0x80), mask: Uint8Array.of(0xff, 0xc0) };

/** Rules for packets as they arrive from the bridges, before their connections are looked up. */
export function arrivals(bridges: readonly BridgeRules[]): Statement[] {
  return [
    // A source that is reached elsewhere is forged: it could answer in another host's name.
    [...inSet("iifname", BRIDGES_SET), { is: "routeLink", of: "source" }, notInBridges, drop],
    ...bridges.filter(({ internal }) => internal).flatMap(withinSubnets),
  ];
}

const notInBridges = { is: "lookup", set: BRIDGES_SET, absent: true } as const;

/**
 * An internal network's packets stay in its subnets, in which its bridge has the host's only address for it. So neither
 * other addresses of the host nor other networks are reached, whatever routes a container has made.
 */
function withinSubnets({ bridge, subnet, subnet6 }: BridgeRules): Statement[] {
  const [at4, at6] = [FAMILIES.ip.destination, FAMILIES.ip6.destination];
  const first = (offset: number, length = 1) => ({ is: "payload", offset, length }) as const;
  const ipv4: Statement = [
    ...isLink("iifname", bridge),
    ...isFamily("ip"),
    first(at4),
    { is: "mask", mask: Uint8Array.of(MANY4) },
    { is: "compare", equal: false, value: Uint8Array.of(MANY4) },
    ...(subnet ? isOutside(at4, ipv4Bytes(subnet.base), ipv4Bytes(subnetMask(subnet.prefixLength))) : []),
    drop,
  ];
  const ipv6: Statement = [
    ...isLink("iifname", bridge),
    ...isFamily("ip6"),
    first(at6),
    { is: "compare", equal: false, value: Uint8Array.of(MANY6) },
    first(at6, 2),
    { is: "mask", mask: LINK_LOCAL6.mask },
    { is: "compare", equal: false, value: LINK_LOCAL6.base },
    ...(subnet6 ? isOutside(at6, ipv6Bytes(subnet6.base), ipv6Bytes(subnet6Mask(subnet6.prefixLength))) : []),
    drop,
  ];
  return [ipv4, ipv6];
}

function isOutside(offset: number, base: Uint8Array, mask: Uint8Array): Statement {
  return [
    { is: "payload", offset, length: base.byteLength },
    { is: "mask", mask },
    { is: "compare", equal: false, value: base },
  ];
}

/** Rules by which published ports, also at the gateway's own address, lead nowhere from internal networks. */
export function untranslated(bridges: readonly BridgeRules[]): Statement[] {
  return bridges.some(({ internal }) => internal)
    ? [[...inSet("iifname", INTERNAL_BRIDGES_SET), accept]]
    : [];
}

/** Rule for packets that the host forwards between containers of one bridge. */
export function amongItsContainers({ bridge, icc }: BridgeRules): Statement {
  return [...isLink("iifname", bridge), ...isLink("oifname", bridge), icc ? accept : drop];
}

/** Rules that forward nothing from or to internal networks, not even answers; before all others. */
export function internalForward(bridges: readonly BridgeRules[]): Statement[] {
  const internal = bridges.filter((rules) => rules.internal);
  if (internal.length === 0) return [];
  const directions: readonly Direction[] = ["iifname", "oifname"];
  return [
    ...internal.map(amongItsContainers),
    ...directions.map((key): Statement => [...inSet(key, INTERNAL_BRIDGES_SET), drop]),
  ];
}
