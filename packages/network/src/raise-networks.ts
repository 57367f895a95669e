import { dockerBridges, enableForwarding, enableForwarding6, ensureBridge, reattach } from "./bridge.ts";
import type { BridgeNetwork } from "./bridge-network.ts";
import { formatSubnet } from "./ipv4.ts";
import { allPorts, bridgeNamed, type NetworkState } from "./network-state.ts";
import { ensureParent } from "./parent-link.ts";

/** Put the bridges, with the interfaces that belong on them, forwarding and the firewall in place. */
export function raiseNetworks(state: NetworkState): void {
  const { route, bridges, endpoints, options } = state;
  for (const network of bridges.values()) {
    const index = raiseNetwork(state, network);
    const belonging = new Set(endpoints.ofNetwork(network.id).map(({ link }) => link));
    for (const { name, master } of route.links())
      if (belonging.has(name) && master !== index) reattach(route, name, index);
  }
  for (const network of state.linked.values()) {
    try {
      ensureParent(route, network);
    } catch (error) {
      options.log.warn({ network: network.name, err: error }, "a network has no interface to stand on");
    }
  }
  rebuildFirewall(state);
  const subnet = formatSubnet(bridgeNamed(state, "bridge").subnet);
  options.log.info({ bridge: options.bridge, subnet, networks: bridges.size }, "bridges are up");
}

/** Others can take away what we stand on: a bridge deleted by hand, a firewall that was flushed. */
export function ensureNetworks(state: NetworkState): void {
  const { route, firewall, bridges, indexes, options } = state;
  const missing = [...bridges.values()].filter(({ id, link }) => route.link(link)?.index !== indexes.get(id));
  if (missing.length === 0 && firewall.isInPlace()) return;
  const names = missing.map(({ name }) => name);
  options.log.warn({ networks: names }, "bridges or firewall rules were gone, they are made anew");
  raiseNetworks(state);
}

/** Put one bridge in place. @returns its index */
export function raiseNetwork({ route, indexes }: NetworkState, network: BridgeNetwork): number {
  const { id, link: name, mac, subnet, gateway, ipv6, mtu } = network;
  const index = ensureBridge(route, { name, mac, subnet, gateway, mtu, ...(ipv6 && { ipv6 }) });
  indexes.set(id, index);
  return index;
}

export function rebuildFirewall(state: NetworkState): void {
  const { route, firewall, bridges } = state;
  const links = route.links();
  // What kept the host from being a router before us must still hold between the interfaces it had then.
  const hardware = links.filter(({ kind, index }) => kind === undefined && index !== 1);
  const names = hardware.map(({ name }) => name);
  const own = [...bridges.values()];
  const guardedLinks = enableForwarding() ? firewall.guardedLinks() : names;
  const forwards6 = !own.some(({ ipv6 }) => ipv6) || enableForwarding6();
  const guardedLinks6 = forwards6 ? firewall.guardedLinks6() : names;
  firewall.rebuild({
    bridges: own.map(({ link, subnet, ipv6, icc, masquerade, internal }) => ({
      ...{ bridge: link, subnet, subnet6: ipv6?.subnet, icc, masquerade, internal },
    })),
    foreignBridges: foreignBridges(state),
    ...{ guardedLinks, guardedLinks6 },
    ports: allPorts(state),
    relayPort: state.relay?.port,
  });
}

/** Bridges of a real Docker on this host. */
export function foreignBridges({ route, bridges }: NetworkState): string[] {
  return dockerBridges(
    route.links(),
    [...bridges.values()].map(({ link }) => link),
  );
}
