import type { BridgeNetwork } from "./bridge-network.ts";
import { PREDEFINED } from "./default-networks.ts";
import { type NetworkState, placedOf, userNetworks } from "./network-state.ts";
import type { Placed } from "./placed.ts";
import { networkRecords } from "./records.ts";

/** Answer for names on all networks of users. */
export async function serveNames(state: NetworkState): Promise<void> {
  for (const network of userNetworks(state)) await serveNetwork(state, network);
}

/** Answer for names on a network. Containers that ask elsewhere are told where to ask. */
export async function serveNetwork(state: NetworkState, network: BridgeNetwork): Promise<void> {
  const { options, bridges, endpoints, files, names } = state;
  const dnsPort = await names.serve(network, network.dnsPort);
  if (dnsPort === network.dnsPort) return;
  const { networks } = networkRecords(options.store);
  const record = await networks.get(network.name);
  if (record?.user) {
    await options.store.commit([
      networks.put(network.name, { ...record, user: { ...record.user, dnsPort } }),
    ]);
  }
  bridges.set(network.name, { ...network, dnsPort });
  for (const { sandboxId } of endpoints.ofNetwork(network.id)) {
    try {
      files.within(sandboxId, ({ fd }) => redirectNames(state, fd, placedOf(state, sandboxId)));
    } catch (error) {
      options.log.warn({ sandboxId, err: error }, "a container doesn't find its resolver");
    }
  }
}

/** Let a sandbox ask the first of its networks that has names. */
export function redirectNames({ names }: NetworkState, netns: number, placed: readonly Placed[]): void {
  const first = placed.find(({ network }) => !PREDEFINED.includes(network.name));
  if (first) names.redirect(netns, first.network);
}
