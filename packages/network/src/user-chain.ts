import {
  addBaseChain,
  addTable,
  deleteTable,
  type NetlinkRequest,
  type NftablesSocket,
  type NftTable,
} from "@longshore/netlink";

/** Of our own table's, for rules of the host's administrator. */
export const USER_CHAIN = "forward";
/** Before our own chain. */
const PRIORITY = -10;

/** The table beside ours that we make and never change: it is the administrator's. */
export function userTable({ name }: NftTable): NftTable {
  return { family: "inet", name: `${name}_user` };
}

/** What makes the administrator's chain where there is none; one that is there stays as it is, also its policy. */
export function userChainRequests(nft: NftablesSocket, table: NftTable): NetlinkRequest[] {
  const own = userTable(table);
  if (nft.rules(own, USER_CHAIN) !== undefined) return [];
  return [
    addTable(own),
    addBaseChain(own, {
      ...{ name: USER_CHAIN, type: "filter", hook: "forward", priority: PRIORITY, policy: "accept" },
    }),
  ];
}

export function removeUserChain(table: NftTable): NetlinkRequest[] {
  const own = userTable(table);
  return [addTable(own), deleteTable(own)];
}
