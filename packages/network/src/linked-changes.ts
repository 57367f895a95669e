import { EngineError } from "@longshore/errors";
import { hostAddresses, subnetsInUse } from "./default-networks.ts";
import { type LinkedDriver, type LinkedNetwork, linkedNetwork, planLinked } from "./linked-network.ts";
import { networkFacts } from "./network-facts.ts";
import { attachedNetworks, type NetworkState, subnets6Of } from "./network-state.ts";
import { ensureParent, removeParent } from "./parent-link.ts";
import { networkRecords } from "./records.ts";
import type { CreateNetwork, NetworkFacts } from "./types.ts";

/** Make a macvlan or ipvlan network, with the interface that it stands on where the host hasn't got it. */
export async function createLinked(
  state: NetworkState,
  request: CreateNetwork,
  driver: LinkedDriver,
): Promise<NetworkFacts> {
  const { route, linked, options } = state;
  const { name, ipam } = request;
  const attached = attachedNetworks(state);
  const own = attached.flatMap(({ subnet, further = [] }) => [subnet, ...further.map((one) => one.subnet)]);
  const ipv6 = attached.flatMap((one) => subnets6Of(one));
  // A subnet that somebody names may well be that of the host's interface; one that nobody names must not.
  const inUse = ipam.subnet === "" ? [...subnetsInUse(route), ...own] : own;
  const record = planLinked(
    request,
    driver,
    { ipv4: inUse, ipv6 },
    {
      ...(options.addressPools && { pools: options.addressPools }),
      isThere: (link) => route.link(link) !== undefined,
    },
  );
  const network = linkedNetwork(name, withSharedParent(state, record), hostAddresses(route));
  if (!network) throw new Error(`${name} is no ${driver} network`);
  checkPassthru(state, network);
  const { networks } = networkRecords(options.store);
  // Recorded first: what a daemon that is killed here has made is found by its record.
  await options.store.commit([networks.put(name, withSharedParent(state, record))], [networks.absent(name)]);
  linked.set(name, network);
  try {
    ensureParent(route, network);
  } catch (error) {
    await forgetLinked(state, network);
    throw error;
  }
  return networkFacts(network, []);
}

/** Take a network away; what was made for it goes unless another one stands on it as well. */
export async function forgetLinked(state: NetworkState, network: LinkedNetwork): Promise<void> {
  const { route, linked, endpoints, options } = state;
  linked.delete(network.name);
  endpoints.forget(network.id);
  if (!othersOn(state, network.parent)) removeParent(route, network);
  await options.store.commit([networkRecords(options.store).networks.delete(network.name)]);
}

type LinkedRecord = ReturnType<typeof planLinked>;

/** An interface that was made for another network is this one's as well, so that it goes with the last of them. */
function withSharedParent({ linked }: NetworkState, record: LinkedRecord): LinkedRecord {
  const shared = [...linked.values()].some(
    ({ parent, ownsParent }) => ownsParent && parent === record.user?.link,
  );
  return shared && record.linked ? { ...record, linked: { ...record.linked, ownsParent: true } } : record;
}

function othersOn({ linked }: NetworkState, parent: string): boolean {
  return [...linked.values()].some((other) => other.parent === parent);
}

/** An interface of the mode passthru has its parent for itself. */
function checkPassthru({ linked }: NetworkState, network: LinkedNetwork): void {
  const isPassthru = ({ how }: LinkedNetwork) => how.driver === "macvlan" && how.mode === "passthru";
  const other = [...linked.values()].find(({ parent }) => parent === network.parent);
  if (!other) return;
  if (isPassthru(network)) {
    throw new EngineError(
      "permission_denied",
      `cannot use mode passthru, macvlan network ${other.id} is already using parent interface ${network.parent}`,
    );
  }
  if (isPassthru(other)) {
    throw new EngineError(
      "permission_denied",
      `macvlan network ${other.id} is already using parent interface ${network.parent} in mode passthru`,
    );
  }
}
