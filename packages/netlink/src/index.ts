export {
  addAddress,
  addDefaultRoute,
  deleteAddress,
  type LinkAddress,
  type Route,
} from "./address.ts";
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
  CT_ESTABLISHED,
  CT_RELATED,
  type ForeignExpression,
  type NftExpression,
} from "./nftables-expression.ts";
export {
  addBaseChain,
  addLinkSet,
  addRule,
  addSetLinks,
  addTable,
  deleteRule,
  deleteTable,
  linkKey,
  type NftBaseChain,
  type NftRule,
  type NftTable,
} from "./nftables-requests.ts";
export { NftablesSocket } from "./nftables-socket.ts";
export { RouteSocket } from "./route-socket.ts";
