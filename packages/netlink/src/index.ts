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
export { RouteSocket } from "./route-socket.ts";
