import { hasNames, isBridge } from "./attached-network.ts";
import type { BridgeNetwork } from "./bridge-network.ts";
import { inNetns } from "./netns.ts";
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

/** Let a sandbox ask the first of its networks that has names and the host on it. */
export function redirectNames({ names }: NetworkState, netns: number, placed: readonly Placed[]): void {
  for (const { network } of placed)
    if (hasNames(network) && isBridge(network)) {
      names.redirect(netns, network);
      return;
    }
}

/** Serve a sandbox that has names, but reaches the host by none of its networks, in its own namespace; others are not any more. */
export async function serveWithin(state: NetworkState, sandboxId: string): Promise<void> {
  const { names, files, options } = state;
  const named = placedOf(state, sandboxId).filter(({ network }) => hasNames(network));
  const [first] = named;
  if (!first || named.some(({ network }) => isBridge(network))) {
    names.endWithin(sandboxId);
    return;
  }
  try {
    await names.serveWithin(sandboxId, first.endpoint.address, (work) =>
      files.within(sandboxId, ({ fd }) => inNetns(fd, work)),
    );
  } catch (error) {
    options.log.warn({ sandboxId, err: error }, "a container has no resolver");
  }
}
