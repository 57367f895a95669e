import {
  ADDRESS_LOCAL,
  addBaseChain,
  addElements,
  addLinkSet,
  addOwnedTable,
  addRule,
  addSet,
  addSetLinks,
  addTable,
  CT_ESTABLISHED,
  CT_RELATED,
  CT_STATUS_DNAT,
  deleteElements,
  deleteTable,
  type NetlinkRequest,
  type NftablesSocket,
  type NftExpression,
  type NftField,
  type NftTable,
  nftMap,
  nftSet,
} from "@longshore/netlink";
import {
  amongItsContainers,
  arrivals,
  BRIDGES_SET,
  foreignLoopback,
  INTERNAL_BRIDGES_SET,
  internalForward,
  untranslated,
} from "./arrivals.ts";
import { ipv4Bytes, type Subnet, subnetMask } from "./ipv4.ts";
import { ipv6Bytes, type Subnet6, subnet6Mask } from "./ipv6.ts";
import {
  accept,
  type Direction,
  drop,
  FAMILIES,
  type Family,
  inSet,
  isFamily,
  isLink,
  isLoopback,
  type Statement,
} from "./statements.ts";

/** A bridge of ours as the firewall sees it. */
export interface BridgeRules {
  readonly bridge: string;
  /** Of a network with IPv4. */
  readonly subnet?: Subnet | undefined;
  /** Of a network with IPv6. */
  readonly subnet6?: Subnet6 | undefined;
  /** What is on it may reach the others on it; ports isolated from each other see to the same below IP. */
  readonly icc: boolean;
  readonly masquerade: boolean;
  /** Reaches nothing outside. */
  readonly internal: boolean;
}

/** A port of the host's that leads to a container. */
export interface PublishedPort {
  readonly protocol: "tcp" | "udp" | "sctp";
  /** Of the host; undefined for all of its addresses of the family. */
  readonly hostAddress: Uint8Array | undefined;
  readonly hostPort: number;
  /** 4 or 16 bytes. */
  readonly address: Uint8Array;
  readonly port: number;
  /** Of the host's IPv6, and for the relay to carry on: the container has IPv4 only, or the kernel can't. */
  readonly relayed?: true;
}

export interface Ruleset {
  /** Where relayed connections are taken; undefined for a host without IPv6. */
  readonly relayPort: number | undefined;
  readonly ports: readonly PublishedPort[];
  readonly bridges: readonly BridgeRules[];
  /** Bridges that networks have beside their own: packets pass there as below IP, also where the host filters that. */
  readonly furtherBridges: readonly string[];
  /** Bridges of a real Docker: ours don't reach into its networks. */
  readonly foreignBridges: readonly string[];
  /** Interfaces between which the host must not become a router of IPv4 because of us. */
  readonly guardedLinks: readonly string[];
  /** The same of IPv6. */
  readonly guardedLinks6: readonly string[];
  /** Others can neither flush nor change the table while this process runs; for kernels since 6.9. */
  readonly owned: boolean;
}

export const GUARDED_LINKS_SET = "guarded_links";
export const GUARDED_LINKS6_SET = "guarded_links6";
const FOREIGN_BRIDGES_SET = "foreign_bridges";
export const FURTHER_BRIDGES_SET = "further_bridges";

const PROTOCOLS = { tcp: 6, udp: 17, sctp: 132 } as const;

/** Ports of all addresses of the host, and those of one. */
const portMaps = (name: string, address: "ipv4_addr" | "ipv6_addr") => ({
  any: nftMap(name, ["inet_proto", "inet_service"], [address, "inet_service"]),
  at: nftMap(`${name}_at`, [address, "inet_proto", "inet_service"], [address, "inet_service"]),
});
const PORT_MAPS = { ip: portMaps("ports", "ipv4_addr"), ip6: portMaps("ports6", "ipv6_addr") };

/** Ports whose connections the relay takes. */
const RELAYED = {
  any: nftSet("relayed", ["inet_proto", "inet_service"]),
  at: nftSet("relayed_at", ["ipv6_addr", "inet_proto", "inet_service"]),
};

const isReply: Statement = [
  { is: "ctState" },
  { is: "mask", mask: Uint8Array.of(CT_ESTABLISHED | CT_RELATED, 0, 0, 0) },
  { is: "compare", equal: false, value: new Uint8Array(4) },
];

const fromSubnet = (family: Family, base: Uint8Array, mask: Uint8Array): Statement => [
  ...isFamily(family),
  { is: "payload", offset: FAMILIES[family].source, length: base.byteLength },
  { is: "mask", mask },
  { is: "compare", equal: true, value: base },
];
/** What is from one of a bridge's subnets. */
const fromSubnets = ({ subnet, subnet6 }: BridgeRules): Statement[] => [
  ...(subnet ? [fromSubnet("ip", ipv4Bytes(subnet.base), ipv4Bytes(subnetMask(subnet.prefixLength)))] : []),
  ...(subnet6
    ? [fromSubnet("ip6", ipv6Bytes(subnet6.base), ipv6Bytes(subnet6Mask(subnet6.prefixLength)))]
    : []),
];

/** From `::1`; nothing with such an address comes into the host from elsewhere. */
const isFromLoopback6: Statement = [
  ...isFamily("ip6"),
  { is: "payload", offset: FAMILIES.ip6.source, length: 16 },
  { is: "compare", equal: true, value: ipv6Bytes(1n) },
];
const isTranslated: Statement = [
  { is: "ctStatus" },
  { is: "mask", mask: Uint8Array.of(CT_STATUS_DNAT, 0, 0, 0) },
  { is: "compare", equal: false, value: new Uint8Array(4) },
];
const isForThisHost = (family: Family): Statement => [
  ...isFamily(family),
  { is: "addressType", of: "destination" },
  { is: "compare", equal: true, value: Uint8Array.of(ADDRESS_LOCAL, 0, 0, 0) },
];
const port = (into: number): NftExpression => ({
  ...{ is: "payload", header: "transport", offset: 2, length: 2, into },
});
/** Connections to published ports go to their containers, whatever number of ports there is. */
const publish: readonly Statement[] = (["ip", "ip6"] as const).flatMap((family) => {
  const { destination, bytes } = FAMILIES[family];
  const words = bytes / 4;
  const toContainer: Statement = [{ is: "dnat", family, address: 8, port: 8 + words }];
  return [
    [
      ...isForThisHost(family),
      { is: "payload", offset: destination, length: bytes, into: 0 },
      { is: "meta", key: "l4proto", into: words },
      port(words + 1),
      { is: "map", map: PORT_MAPS[family].at.name, into: 8 },
      ...toContainer,
    ],
    [
      ...isForThisHost(family),
      { is: "meta", key: "l4proto", into: 0 },
      port(1),
      { is: "map", map: PORT_MAPS[family].any.name, into: 8 },
      ...toContainer,
    ],
  ];
});

/** Before those: what the relay takes. */
const relay = (relayPort: number): readonly Statement[] => {
  const toRelay: Statement = [
    { is: "load", value: Uint8Array.of(relayPort >> 8, relayPort & 0xff), into: 0 },
    { is: "redirect", port: 0 },
  ];
  const { destination, bytes } = FAMILIES.ip6;
  return [
    [
      ...isForThisHost("ip6"),
      { is: "payload", offset: destination, length: bytes, into: 0 },
      { is: "meta", key: "l4proto", into: 4 },
      port(5),
      { is: "lookup", set: RELAYED.at.name },
      ...toRelay,
    ],
    [
      ...isForThisHost("ip6"),
      { is: "meta", key: "l4proto", into: 0 },
      port(1),
      { is: "lookup", set: RELAYED.any.name },
      ...toRelay,
    ],
  ];
};

/** Requests that publish ports, or take them back, in a table that is in place. */
export function portElements(
  table: NftTable,
  ports: readonly PublishedPort[],
  change: "add" | "delete",
): NetlinkRequest[] {
  return [
    ...relayElements(table, ports, change),
    ...(["ip", "ip6"] as const).flatMap((family) => mapElements(table, family, ports, change)),
  ];
}

function relayElements(
  table: NftTable,
  ports: readonly PublishedPort[],
  change: "add" | "delete",
): NetlinkRequest[] {
  const relayed = ports.filter((one) => one.relayed);
  const any = relayed.flatMap(({ protocol, hostAddress, hostPort }) =>
    hostAddress ? [] : [[PROTOCOLS[protocol], hostPort] as const],
  );
  const at = relayed.flatMap(({ protocol, hostAddress, hostPort }) =>
    hostAddress ? [[hostAddress, PROTOCOLS[protocol], hostPort] as const] : [],
  );
  if (change === "delete")
    return [...deleteElements(table, RELAYED.any, any), ...deleteElements(table, RELAYED.at, at)];
  const elements = <K>(keys: readonly K[]) => keys.map((key) => ({ key }));
  return [...addElements(table, RELAYED.any, elements(any)), ...addElements(table, RELAYED.at, elements(at))];
}

function mapElements(
  table: NftTable,
  family: Family,
  ports: readonly PublishedPort[],
  change: "add" | "delete",
): NetlinkRequest[] {
  const { any, at } = PORT_MAPS[family];
  const own = ports.filter(
    ({ address, relayed }) => !relayed && address.byteLength === FAMILIES[family].bytes,
  );
  const elementsOfAny = own.flatMap(({ protocol, hostAddress, hostPort, address, port }) =>
    hostAddress ? [] : [{ key: [PROTOCOLS[protocol], hostPort] as const, value: [address, port] as const }],
  );
  const elementsOfOne = own.flatMap(({ protocol, hostAddress, hostPort, address, port }) =>
    hostAddress
      ? [{ key: [hostAddress, PROTOCOLS[protocol], hostPort] as const, value: [address, port] as const }]
      : [],
  );
  if (change === "add")
    return [...addElements(table, any, elementsOfAny), ...addElements(table, at, elementsOfOne)];
  const keys = <K>(elements: readonly { readonly key: K }[]) => elements.map(({ key }) => key);
  return [
    ...deleteElements(table, any, keys(elementsOfAny)),
    ...deleteElements(table, at, keys(elementsOfOne)),
  ];
}

const guard = (family: Family, set: string): Statement => [
  ...isFamily(family),
  ...inSet("iifname", set),
  ...inSet("oifname", set),
  drop,
];

/** What Docker's own chain gets for each direction of a bridge. */
export const admission = (key: Direction, bridge: string): Statement => [
  ...isLink(key, bridge),
  { is: "counter" },
  accept,
];

/**
 * The transaction that makes the whole table anew, whatever was in it. An `accept` here ends only this table's chain:
 * other tables still have their say.
 */
export function rebuildTable(table: NftTable, ruleset: Ruleset): NetlinkRequest[] {
  const { bridges, furtherBridges, foreignBridges, guardedLinks, guardedLinks6 } = ruleset;
  const redirected = ruleset.relayPort === undefined ? [] : relay(ruleset.relayPort);
  const sets = {
    [BRIDGES_SET]: bridges.map(({ bridge }) => bridge),
    [FOREIGN_BRIDGES_SET]: foreignBridges,
    [GUARDED_LINKS_SET]: guardedLinks,
    [GUARDED_LINKS6_SET]: guardedLinks6,
    [FURTHER_BRIDGES_SET]: furtherBridges,
    [INTERNAL_BRIDGES_SET]: bridges.filter(({ internal }) => internal).map(({ bridge }) => bridge),
  };
  const forward: Statement[] = [
    ...internalForward(bridges),
    [...inSet("oifname", BRIDGES_SET), ...isReply, accept],
    [...inSet("oifname", BRIDGES_SET), ...isTranslated, accept],
    ...bridges.filter(({ internal }) => !internal).map(amongItsContainers),
    [...inSet("oifname", BRIDGES_SET), drop],
    [...inSet("iifname", BRIDGES_SET), ...inSet("oifname", FOREIGN_BRIDGES_SET), drop],
    guard("ip", GUARDED_LINKS_SET),
    guard("ip6", GUARDED_LINKS6_SET),
  ];
  const postrouting: Statement[] = [
    ...bridges
      .filter(({ masquerade, internal }) => masquerade && !internal)
      .flatMap((rules) =>
        fromSubnets(rules).map(
          (from): Statement => [...from, ...isLink("oifname", rules.bridge, false), { is: "masquerade" }],
        ),
      ),
    // A container, or its neighbour, that comes by a published port: the answer must come back this way.
    ...bridges.flatMap((rules) =>
      fromSubnets(rules).map(
        (from): Statement => [
          ...from,
          ...isLink("oifname", rules.bridge),
          ...isTranslated,
          { is: "masquerade" },
        ],
      ),
    ),
    [...inSet("oifname", BRIDGES_SET), ...isLoopback("source"), { is: "masquerade" }],
    [...inSet("oifname", BRIDGES_SET), ...isFromLoopback6, { is: "masquerade" }],
  ];
  // A host that has bridged packets filtered as well sees there what it sees again at the network's own bridge, which is where it counts.
  const passing: Statement = [...inSet("iifname", FURTHER_BRIDGES_SET), { is: "untracked" }];
  return [
    ...removeTable(table),
    ruleset.owned ? addOwnedTable(table) : addTable(table),
    ...Object.entries(sets).flatMap(([name, links], id) => [
      addLinkSet(table, name, id + 1),
      ...(links.length > 0 ? [addSetLinks(table, name, links)] : []),
    ]),
    ...Object.values(PORT_MAPS).flatMap(({ any, at }, family) => [
      addSet(table, any, 10 + 2 * family),
      addSet(table, at, 11 + 2 * family),
    ]),
    addSet(table, RELAYED.any, 14),
    addSet(table, RELAYED.at, 15),
    ...portElements(table, ruleset.ports, "add"),
    addBaseChain(table, {
      ...{ name: "loopback", type: "filter", hook: "prerouting", priority: -300, policy: "accept" },
    }),
    ...[...foreignLoopback, passing, ...arrivals(bridges)].map((rule) => addRule(table, "loopback", rule)),
    ...(["prerouting", "output"] as const).flatMap((hook) => [
      addBaseChain(table, { name: hook, type: "nat", hook, priority: -100, policy: "accept" }),
      ...(hook === "prerouting" ? untranslated(bridges).map((rule) => addRule(table, hook, rule)) : []),
      ...redirected.map((rule) => addRule(table, hook, rule)),
      ...publish.map((rule) => addRule(table, hook, rule)),
    ]),
    addBaseChain(table, {
      ...{ name: "forward", type: "filter", hook: "forward", priority: 0, policy: "accept" },
    }),
    ...forward.map((rule) => addRule(table, "forward", rule)),
    addBaseChain(table, {
      ...{ name: "postrouting", type: "nat", hook: "postrouting", priority: 100, policy: "accept" },
    }),
    ...postrouting.map((rule) => addRule(table, "postrouting", rule)),
  ];
}

/** The chains of the table. */
export const CHAINS = ["loopback", "prerouting", "output", "forward", "postrouting"] as const;

/** Those of the ports that the table's maps don't hold. */
export function missingPorts(
  nft: NftablesSocket,
  table: NftTable,
  ports: readonly PublishedPort[],
): PublishedPort[] {
  const maps = Object.entries({ ...PORT_MAPS, relayed: RELAYED });
  const held = new Set(
    maps.flatMap(([kind, { any, at }]) =>
      [any, at].flatMap((map) =>
        nft
          .elements<readonly NftField[], readonly NftField[]>(table, map)
          .map((element) => [kind, ...element.key].join("/")),
      ),
    ),
  );
  return ports.filter(({ protocol, hostAddress, hostPort, address, relayed }) => {
    const kind = relayed ? "relayed" : address.byteLength === FAMILIES.ip.bytes ? "ip" : "ip6";
    return !held.has([kind, ...(hostAddress ? [hostAddress] : []), PROTOCOLS[protocol], hostPort].join("/"));
  });
}

/** Requests that leave no such table. It is made first, so that deleting it can't fail. */
export function removeTable(table: NftTable): NetlinkRequest[] {
  return [addTable(table), deleteTable(table)];
}
