import { EngineError, isErrno } from "@longshore/errors";
import {
  createBridge,
  createDummy,
  createIpvlan,
  createMacvlan,
  createVlan,
  deleteLink,
  type NetlinkRequest,
  type RouteSocket,
  setLink,
} from "@longshore/netlink";
import { requireLink } from "./bridge.ts";
import { type LinkedNetwork, parseVlan } from "./linked-network.ts";

/**
 * Make sure that the interface is there which a network's own are on top of: one that the network has for itself is made if need be.
 *
 * @returns its index
 * @throws EngineError `not_found` for one of the host's that is gone, `failed_precondition` when the kernel has no such interfaces
 */
export function ensureParent(route: RouteSocket, network: LinkedNetwork): number {
  const { parent, ownsParent, internal, options } = network;
  const found = route.link(parent);
  if (found) return found.index;
  if (!ownsParent) {
    throw new EngineError(
      "not_found",
      `the requested parent interface ${parent} was not found on the Docker host`,
    );
  }
  const isOwn = !options.parent && internal;
  if (isOwn) makeNowhere(route, parent);
  else {
    const isThere = (name: string) => route.link(name) !== undefined;
    const { parent: below, vlan } = parseVlan(parent, isThere);
    create(route, createVlan({ name: parent, parent: requireLink(route, below).index, vlan }));
  }
  route.run(setLink({ name: parent }, { up: true, ipv6Addresses: false }));
  return requireLink(route, parent).index;
}

/** Take away what `ensureParent` made. */
export function removeParent(route: RouteSocket, { parent, ownsParent }: LinkedNetwork): void {
  if (ownsParent && route.link(parent)) route.run(deleteLink(parent));
}

/** Make a container's interface, straight in its namespace; it is down and without addresses. */
export function addLinked(
  route: RouteSocket,
  network: LinkedNetwork,
  { name, netns, mac }: { name: string; netns: number; mac: string },
): void {
  const parent = ensureParent(route, network);
  const { how } = network;
  create(
    route,
    how.driver === "macvlan"
      ? createMacvlan({ name, parent, netns, mode: how.mode, mac })
      : createIpvlan({ name, parent, netns, mode: how.mode, flag: how.flag }),
  );
}

/** An interface that leads nowhere: a dummy, or where the kernel has none a bridge without ports. */
function makeNowhere(route: RouteSocket, name: string): void {
  try {
    route.run(createDummy(name));
  } catch (error) {
    if (!isErrno(error, "EOPNOTSUPP")) throw error;
    route.run(createBridge({ name }));
  }
}

function create(route: RouteSocket, request: NetlinkRequest): void {
  try {
    route.run(request);
  } catch (cause) {
    if (!(cause instanceof Error)) throw cause;
    // Such as macvlan and ipvlan on the same parent, or a kind of interface that the kernel lacks.
    throw new EngineError("failed_precondition", cause.message, { cause });
  }
}
