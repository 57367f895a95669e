export {
  addAddress,
  addDefaultRoute,
  addLocalRoute,
  deleteAddress,
  type LinkAddress,
  type Route,
} from "./address.ts";
export { type ConnectionTuple, ConntrackSocket, type TrackedConnection } from "./conntrack-socket.ts";
export {
  createBridge,
  createVeth,
  deleteLink,
  type Link,
  MAX_LINK_NAME,
  moveLink,
  setBridgePort,
  setLink,
} from "./link.ts";
export type { NetlinkRequest } from "./message.ts";
export {
  ADDRESS_LOCAL,
  CT_ESTABLISHED,
  CT_RELATED,
  CT_STATUS_DNAT,
  type ForeignExpression,
  type NftExpression,
} from "./nftables-expression.ts";
export {
  addBaseChain,
  addChain,
  addOwnedTable,
  addRule,
  addTable,
  deleteRule,
  deleteTable,
  flushChain,
  type NftBaseChain,
  type NftRule,
  type NftTable,
} from "./nftables-requests.ts";
export {
  addElements,
  addLinkSet,
  addSet,
  addSetLinks,
  deleteElements,
  deleteSet,
  flushSet,
  linkKey,
  type NftElement,
  type NftField,
  type NftSet,
  nftMap,
  nftSet,
} from "./nftables-sets.ts";
export { NftablesSocket } from "./nftables-socket.ts";
export { type NftChange, watchNftables } from "./nftables-watch.ts";
export { RouteSocket } from "./route-socket.ts";
export {
  createDummy,
  createIpvlan,
  createMacvlan,
  createVlan,
  IPVLAN_FLAGS,
  IPVLAN_MODES,
  MACVLAN_MODES,
  type StackedLink,
} from "./stacked-link.ts";
