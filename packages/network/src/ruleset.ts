import {
  addBaseChain,
  addLinkSet,
  addRule,
  addSetLinks,
  addTable,
  CT_ESTABLISHED,
  CT_RELATED,
  deleteTable,
  linkKey,
  type NetlinkRequest,
  type NftExpression,
  type NftTable,
} from "@longshore/netlink";
import { ipv4Bytes, type Subnet, subnetMask } from "./ipv4.ts";

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

export interface Ruleset {
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
  const postrouting = bridges
    .filter(({ masquerade, internal }) => masquerade && !internal)
    .map(
      ({ bridge, subnet }): Statement => [
        ...fromSubnet(subnet),
        ...isLink("oifname", bridge, false),
        { is: "masquerade" },
      ],
    );
  return [
    ...removeTable(table),
    addTable(table),
    ...Object.entries(sets).flatMap(([name, links], id) => [
      addLinkSet(table, name, id + 1),
      ...(links.length > 0 ? [addSetLinks(table, name, links)] : []),
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
