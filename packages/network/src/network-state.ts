import { EngineError } from "@longshore/errors";
import type { RouteSocket } from "@longshore/netlink";
import type { AttachedNetwork } from "./attached-network.ts";
import type { BridgeNetwork } from "./bridge-network.ts";
import type { BridgePorts } from "./bridge-ports.ts";
import { PREDEFINED } from "./default-networks.ts";
import type { Endpoints } from "./endpoints.ts";
import type { Firewall } from "./firewall.ts";
import type { Firewalld } from "./firewalld.ts";
import { ipv4Bytes, parseIpv4 } from "./ipv4.ts";
import { ipv6Bytes, parseIpv6, type Subnet6 } from "./ipv6.ts";
import type { LinkedNetwork } from "./linked-network.ts";
import type { NameService } from "./name-service.ts";
import type { NetnsPool } from "./netns-pool.ts";
import { interfaceNumber, interfaceOf, type Placed, publisher } from "./placed.ts";
import type { PublishedPorts } from "./published-ports.ts";
import type { NetworkRecord } from "./records.ts";
import type { Relay } from "./relay.ts";
import type { PublishedPort } from "./ruleset.ts";
import type { SandboxFiles } from "./sandbox.ts";
import type { SandboxBuilder } from "./sandbox-builder.ts";
import type { TemplateNetwork } from "./template-network.ts";
import type { NetworksOptions } from "./types.ts";

/** What the networks of an engine are made of. */
export interface NetworkState {
  readonly options: NetworksOptions;
  readonly route: RouteSocket;
  readonly firewall: Firewall;
  readonly firewalld: Firewalld | undefined;
  readonly relay: Relay | undefined;
  /** Answers to `::1` look forged to the kernel, since the start of this process at least; see `forgesLoopback6`. */
  readonly forgesLoopback6: boolean;
  readonly pool: NetnsPool;
  readonly files: SandboxFiles;
  readonly endpoints: Endpoints;
  readonly published: PublishedPorts;
  readonly names: NameService;
  readonly builder: SandboxBuilder;
  /** By name. */
  readonly bridges: Map<string, BridgeNetwork>;
  readonly bridgePorts: BridgePorts;
  /** Networks on top of the host's interfaces, by name. */
  readonly linked: Map<string, LinkedNetwork>;
  /** Configurations for networks, by name. */
  readonly templates: Map<string, TemplateNetwork>;
  readonly host: NetworkRecord;
  readonly none: NetworkRecord;
}

export function userNetworks({ bridges }: Pick<NetworkState, "bridges">): BridgeNetwork[] {
  return [...bridges.values()].filter(({ name }) => !PREDEFINED.includes(name));
}

/** @throws EngineError `not_found` */
export function bridgeNamed({ bridges }: NetworkState, name: string): BridgeNetwork {
  const network = bridges.get(name);
  if (!network) throw new EngineError("not_found", `network ${name} not found`);
  return network;
}

/** All networks that containers have interfaces of. */
export function attachedNetworks({
  bridges,
  linked,
}: Pick<NetworkState, "bridges" | "linked">): AttachedNetwork[] {
  return [...bridges.values(), ...linked.values()];
}

/** All of a network's subnets of IPv6. */
export function subnets6Of({ ipv6 }: AttachedNetwork): Subnet6[] {
  return ipv6 ? [ipv6, ...(ipv6.further ?? [])].map(({ subnet }) => subnet) : [];
}

/** A sandbox's endpoints in the order of its interfaces. */
export function placedOf(state: NetworkState, sandboxId: string): Placed[] {
  const { endpoints } = state;
  const byId = new Map(attachedNetworks(state).map((network) => [network.id, network]));
  return endpoints
    .ofSandbox(sandboxId)
    .flatMap((endpoint) => {
      const network = byId.get(endpoint.networkId);
      return network ? [{ network, endpoint }] : [];
    })
    .sort((a, b) => {
      const [first, second] = [interfaceNumber(a.endpoint), interfaceNumber(b.endpoint)];
      if (first !== second) return first < second ? -1 : 1;
      return interfaceOf(a.endpoint) < interfaceOf(b.endpoint) ? -1 : 1;
    });
}

const LOOPBACK6 = 1n;

/** Where all published ports lead now. */
export function allPorts(state: NetworkState): PublishedPort[] {
  return state.published.sandboxes().flatMap((sandboxId) => portTargets(state, sandboxId));
}

/** Where the published ports of a sandbox lead now: to its first network that isn't internal. */
export function portTargets(state: NetworkState, sandboxId: string): PublishedPort[] {
  const bindings = state.published.of(sandboxId);
  if (bindings.length === 0) return [];
  const placed = placedOf(state, sandboxId);
  const address = parseIpv4(publisher(placed, "ipv4")?.endpoint.address ?? "");
  const address6 = parseIpv6(publisher(placed, "ipv6")?.endpoint.ipv6?.address ?? "");
  return bindings.flatMap(({ protocol, containerPort: port, hostIp, hostPort }) => {
    const own = { protocol, hostPort, port };
    const host6 = parseIpv6(hostIp);
    if (host6 !== undefined) {
      const hostAddress = host6 === 0n ? undefined : ipv6Bytes(host6);
      const relayed = (at: Uint8Array | undefined): PublishedPort[] =>
        address === undefined || protocol !== "tcp"
          ? []
          : [{ ...own, hostAddress: at, address: ipv4Bytes(address), relayed: true }];
      if (address6 === undefined) return relayed(hostAddress);
      // What the kernel takes for forged must not come to it.
      const isForged = (host6 === 0n || host6 === LOOPBACK6) && state.forgesLoopback6;
      if (isForged && host6 === LOOPBACK6) return relayed(hostAddress);
      return [
        { ...own, hostAddress, address: ipv6Bytes(address6) },
        ...(isForged ? relayed(ipv6Bytes(LOOPBACK6)) : []),
      ];
    }
    const host = parseIpv4(hostIp) ?? 0;
    const hostAddress = host === 0 ? undefined : ipv4Bytes(host);
    return address === undefined ? [] : [{ ...own, hostAddress, address: ipv4Bytes(address) }];
  });
}
