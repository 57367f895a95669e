import { formatSubnet, type Subnet } from "./ipv4.ts";

/** A bridge of ours as the firewall sees it. */
export interface BridgeRules {
  readonly bridge: string;
  readonly subnet: Subnet;
}

export interface Ruleset {
  /** Name of the table, family inet. */
  readonly table: string;
  readonly bridges: readonly BridgeRules[];
  /** Bridges of a real Docker: ours don't reach into its networks. */
  readonly foreignBridges: readonly string[];
  /** Interfaces between which the host must not become a router because of us. */
  readonly guardedLinks: readonly string[];
}

export const BRIDGES_SET = "bridges";
export const GUARDED_LINKS_SET = "guarded_links";

const names = (links: readonly string[]): string => links.map((name) => JSON.stringify(name)).join(", ");

const setOf = (name: string, links: readonly string[]): string =>
  `  set ${name} { type ifname; ${links.length > 0 ? `elements = { ${names(links)} }; ` : ""}}`;

/**
 * The commands that make the whole table anew, in one transaction. An `accept` here ends only this table's chain: other
 * tables still have their say.
 */
export function formatRuleset({ table, bridges, foreignBridges, guardedLinks }: Ruleset): string {
  const own = bridges.map(({ bridge }) => bridge);
  const within = bridges.map(
    ({ bridge }) => `    iifname ${JSON.stringify(bridge)} oifname ${JSON.stringify(bridge)} accept`,
  );
  const masquerade = bridges.map(
    ({ bridge, subnet }) =>
      `    ip saddr ${formatSubnet(subnet)} oifname != ${JSON.stringify(bridge)} masquerade`,
  );
  return `table inet ${table}
delete table inet ${table}
table inet ${table} {
${setOf(BRIDGES_SET, own)}
${setOf("foreign_bridges", foreignBridges)}
${setOf(GUARDED_LINKS_SET, guardedLinks)}
  chain forward {
    type filter hook forward priority filter; policy accept;
    oifname @${BRIDGES_SET} ct state established,related accept
${within.join("\n")}
    oifname @${BRIDGES_SET} drop
    iifname @${BRIDGES_SET} oifname @foreign_bridges drop
    iifname @${GUARDED_LINKS_SET} oifname @${GUARDED_LINKS_SET} drop
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
${masquerade.join("\n")}
  }
}
`;
}
