import {
  ADDRESS_LOCAL,
  addBaseChain,
  addElements,
  addLinkSet,
  addRule,
  addSet,
  addSetLinks,
  addTable,
  CT_ESTABLISHED,
  CT_RELATED,
  CT_STATUS_DNAT,
  deleteElements,
  deleteTable,
  linkKey,
  type NetlinkRequest,
  type NftExpression,
  type NftTable,
  nftMap,
} from "@longshore/netlink";
import { type Ipv4, ipv4Bytes, type Subnet, subnetMask } from "./ipv4.ts";

/** A bridge of ours as the firewall sees it. */
export interface BridgeRules {
  readonly bridge: string;
  readonly subnet: Subnet;
  /** What is on it may reach the others on it; ports isolated from each other see to the same below IP. */
  readonly icc: boolean;
  readonly masquerade: boolean;
  /** Reaches nothing outside. */
  readonly internal: boolean;
}

/** A port of the host's that leads to a container. */
export interface PublishedPort {
  readonly protocol: "tcp" | "udp" | "sctp";
  /** Of the host; 0 for all of its addresses. */
  readonly hostAddress: Ipv4;
  readonly hostPort: number;
  readonly address: Ipv4;
  readonly port: number;
}

export interface Ruleset {
  readonly ports: readonly PublishedPort[];
  readonly bridges: readonly BridgeRules[];
  /** Bridges of a real Docker: ours don't reach into its networks. */
  readonly foreignBridges: readonly string[];
  /** Interfaces between which the host must not become a router because of us. */
  readonly guardedLinks: readonly string[];
}

export const BRIDGES_SET = "bridges";
export const GUARDED_LINKS_SET = "guarded_links";
const FOREIGN_BRIDGES_SET = "foreign_bridges";

const NFPROTO_IPV4 = 2;
const SOURCE_OFFSET = 12;
const DESTINATION_OFFSET = 16;
const PROTOCOLS = { tcp: 6, udp: 17, sctp: 132 } as const;

/** Ports of all addresses of the host, and those of one. */
const PORTS_ANY = nftMap("ports", ["inet_proto", "inet_service"], ["ipv4_addr", "inet_service"]);
const PORTS_AT = nftMap(
  "ports_at",
  ["ipv4_addr", "inet_proto", "inet_service"],
  ["ipv4_addr", "inet_service"],
);

/** By which interface a packet came, or goes. */
export type Direction = "iifname" | "oifname";
type Statement = readonly NftExpression[];

const inSet = (key: Direction, set: string): Statement => [
  { is: "meta", key },
  { is: "lookup", set },
];
const isLink = (key: Direction, name: string, equal = true): Statement => [
  { is: "meta", key },
  { is: "compare", equal, value: linkKey(name) },
];
const accept: NftExpression = { is: "verdict", verdict: "accept" };
const drop: NftExpression = { is: "verdict", verdict: "drop" };

const isReply: Statement = [
  { is: "ctState" },
  { is: "mask", mask: Uint8Array.of(CT_ESTABLISHED | CT_RELATED, 0, 0, 0) },
  { is: "compare", equal: false, value: new Uint8Array(4) },
];

const fromSubnet = ({ base, prefixLength }: Subnet): Statement => [
  { is: "meta", key: "nfproto" },
  { is: "compare", equal: true, value: Uint8Array.of(NFPROTO_IPV4) },
  { is: "payload", offset: SOURCE_OFFSET, length: 4 },
  { is: "mask", mask: ipv4Bytes(subnetMask(prefixLength)) },
  { is: "compare", equal: true, value: ipv4Bytes(base) },
];

const isIpv4: Statement = [
  { is: "meta", key: "nfproto" },
  { is: "compare", equal: true, value: Uint8Array.of(NFPROTO_IPV4) },
];
/** `127.0.0.0/8` at this place of the header. */
const isLoopback = (offset: number): Statement => [
  { is: "payload", offset, length: 1 },
  { is: "compare", equal: true, value: Uint8Array.of(127) },
];
const isTranslated: Statement = [
  { is: "ctStatus" },
  { is: "mask", mask: Uint8Array.of(CT_STATUS_DNAT, 0, 0, 0) },
  { is: "compare", equal: false, value: new Uint8Array(4) },
];
const isForThisHost: Statement = [
  ...isIpv4,
  { is: "addressType", of: "destination" },
  { is: "compare", equal: true, value: Uint8Array.of(ADDRESS_LOCAL, 0, 0, 0) },
];
const toContainer: Statement = [{ is: "dnat", family: "ip", address: 8, port: 9 }];
const port = (into: number): NftExpression => ({
  ...{ is: "payload", header: "transport", offset: 2, length: 2, into },
});
/** Connections to published ports go to their containers, whatever number of ports there is. */
const publish: readonly Statement[] = [
  [
    ...isForThisHost,
    { is: "payload", offset: DESTINATION_OFFSET, length: 4, into: 0 },
    { is: "meta", key: "l4proto", into: 1 },
    port(2),
    { is: "map", map: PORTS_AT.name, into: 8 },
    ...toContainer,
  ],
  [
    ...isForThisHost,
    { is: "meta", key: "l4proto", into: 0 },
    port(1),
    { is: "map", map: PORTS_ANY.name, into: 8 },
    ...toContainer,
  ],
];

/** Requests that publish ports, or take them back, in a table that is in place. */
export function portElements(
  table: NftTable,
  ports: readonly PublishedPort[],
  change: "add" | "delete",
): NetlinkRequest[] {
  const any = ports.filter(({ hostAddress }) => hostAddress === 0);
  const at = ports.filter(({ hostAddress }) => hostAddress !== 0);
  const value = ({ address, port }: PublishedPort) => [ipv4Bytes(address), port] as const;
  const ofAny = any.map((one) => ({
    key: [PROTOCOLS[one.protocol], one.hostPort] as const,
    value: value(one),
  }));
  const ofAt = at.map((one) => ({
    key: [ipv4Bytes(one.hostAddress), PROTOCOLS[one.protocol], one.hostPort] as const,
    value: value(one),
  }));
  if (change === "add")
    return [...addElements(table, PORTS_ANY, ofAny), ...addElements(table, PORTS_AT, ofAt)];
  return [
    ...deleteElements(
      table,
      PORTS_ANY,
      ofAny.map(({ key }) => key),
    ),
    ...deleteElements(
      table,
      PORTS_AT,
      ofAt.map(({ key }) => key),
    ),
  ];
}

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
  const { bridges, foreignBridges, guardedLinks } = ruleset;
  const sets = {
    [BRIDGES_SET]: bridges.map(({ bridge }) => bridge),
    [FOREIGN_BRIDGES_SET]: foreignBridges,
    [GUARDED_LINKS_SET]: guardedLinks,
  };
  const forward: Statement[] = [
    [...inSet("oifname", BRIDGES_SET), ...isReply, accept],
    [...inSet("oifname", BRIDGES_SET), ...isTranslated, accept],
    ...bridges.map(({ bridge, icc }) => [
      ...isLink("iifname", bridge),
      ...isLink("oifname", bridge),
      icc ? accept : drop,
    ]),
    ...bridges
      .filter(({ internal }) => internal)
      .map(({ bridge }): Statement => [...isLink("iifname", bridge), drop]),
    [...inSet("oifname", BRIDGES_SET), drop],
    [...inSet("iifname", BRIDGES_SET), ...inSet("oifname", FOREIGN_BRIDGES_SET), drop],
    [...inSet("iifname", GUARDED_LINKS_SET), ...inSet("oifname", GUARDED_LINKS_SET), drop],
  ];
  const postrouting: Statement[] = [
    ...bridges
      .filter(({ masquerade, internal }) => masquerade && !internal)
      .map(
        ({ bridge, subnet }): Statement => [
          ...fromSubnet(subnet),
          ...isLink("oifname", bridge, false),
          { is: "masquerade" },
        ],
      ),
    // A container, or its neighbour, that comes by a published port: the answer must come back this way.
    ...bridges.map(
      ({ bridge, subnet }): Statement => [
        ...fromSubnet(subnet),
        ...isLink("oifname", bridge),
        ...isTranslated,
        { is: "masquerade" },
      ],
    ),
    [...inSet("oifname", BRIDGES_SET), ...isIpv4, ...isLoopback(SOURCE_OFFSET), { is: "masquerade" }],
  ];
  // What the bridges may be sent from loopback's addresses must not let others send to them.
  const foreignLoopback: Statement = [
    ...isLink("iifname", "lo", false),
    ...isIpv4,
    ...isLoopback(DESTINATION_OFFSET),
    drop,
  ];
  return [
    ...removeTable(table),
    addTable(table),
    ...Object.entries(sets).flatMap(([name, links], id) => [
      addLinkSet(table, name, id + 1),
      ...(links.length > 0 ? [addSetLinks(table, name, links)] : []),
    ]),
    addSet(table, PORTS_ANY, 10),
    addSet(table, PORTS_AT, 11),
    ...portElements(table, ruleset.ports, "add"),
    addBaseChain(table, {
      ...{ name: "loopback", type: "filter", hook: "prerouting", priority: -300, policy: "accept" },
    }),
    addRule(table, "loopback", foreignLoopback),
    ...(["prerouting", "output"] as const).flatMap((hook) => [
      addBaseChain(table, { name: hook, type: "nat", hook, priority: -100, policy: "accept" }),
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

/** Requests that leave no such table. It is made first, so that deleting it can't fail. */
export function removeTable(table: NftTable): NetlinkRequest[] {
  return [addTable(table), deleteTable(table)];
}
