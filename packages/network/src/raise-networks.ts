import { dockerBridges, enableForwarding, enableForwarding6, forwardNothing } from "./bridge.ts";
import { formatSubnet } from "./ipv4.ts";
import { allPorts, bridgeNamed, type NetworkState } from "./network-state.ts";
import { ensureParent } from "./parent-link.ts";

/** Put the bridges, with the interfaces that belong on them, forwarding and the firewall in place. */
export function raiseNetworks(state: NetworkState): void {
  const { route, bridges, endpoints, bridgePorts, options } = state;
  for (const network of bridges.values()) bridgePorts.raise(network);
  const links = route.links();
  for (const network of bridges.values()) {
    const belonging = new Set(endpoints.ofNetwork(network.id).map(({ link }) => link));
    bridgePorts.rejoin(network, belonging, links);
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
  const { firewall, bridges, bridgePorts, options } = state;
  const missing = [...bridges.values()].filter((network) => !bridgePorts.isInPlace(network));
  if (missing.length === 0 && firewall.isInPlace()) return;
  const names = missing.map(({ name }) => name);
  options.log.warn({ networks: names }, "bridges or firewall rules were gone, they are made anew");
  raiseNetworks(state);
}

export function rebuildFirewall(state: NetworkState): void {
  const { route, firewall, bridges, bridgePorts } = state;
  const links = route.links();
  // What kept the host from being a router before us must still hold between the interfaces it had then.
  const hardware = links.filter(({ kind, index }) => kind === undefined && index !== 1);
  const names = hardware.map(({ name }) => name);
  const own = [...bridges.values()];
  const guardedLinks = enableForwarding() ? firewall.guardedLinks() : names;
  const forwards6 = !own.some(({ ipv6 }) => ipv6) || enableForwarding6();
  const guardedLinks6 = forwards6 ? firewall.guardedLinks6() : names;
  firewall.rebuild({
    bridges: own.map(({ link, withoutIpv4, subnet, ipv6, icc, masquerade, internal }) => ({
      ...{
        bridge: link,
        subnet: withoutIpv4 ? undefined : subnet,
        subnet6: ipv6?.subnet,
        icc,
        masquerade,
        internal,
      },
    })),
    furtherBridges: bridgePorts.further(),
    foreignBridges: foreignBridges(state),
    ...{ guardedLinks, guardedLinks6 },
    ports: allPorts(state),
    relayPort: state.relay?.port,
    owned: state.options.ownsTable ?? true,
  });
  // Letting the host forward has let all of its interfaces do so.
  for (const { link, internal } of own) if (internal) forwardNothing(link);
  state.firewalld?.trust([...own.map(({ link }) => link), ...bridgePorts.further()]);
}

/** Bridges of a real Docker on this host. */
export function foreignBridges({ route, bridges }: NetworkState): string[] {
  return dockerBridges(
    route.links(),
    [...bridges.values()].map(({ link }) => link),
  );
}
