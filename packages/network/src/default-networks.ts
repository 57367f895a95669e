import { EngineError } from "@longshore/errors";
import type { RouteSocket } from "@longshore/netlink";
import { newMac } from "./bridge.ts";
import { type BridgeNetwork, bridgeNetwork, type DefaultBridgeFacts, OPTION } from "./bridge-network.ts";
import { newId } from "./ids.ts";
import {
  broadcastOf,
  contains,
  formatIpv4,
  formatSubnet,
  type Ipv4,
  ipv4FromBytes,
  overlap,
  parseCidr,
  parseIpv4,
  type Subnet,
  subnetOf,
} from "./ipv4.ts";
import {
  contains6,
  formatIpv6,
  formatSubnet6,
  ipv6FromBytes,
  parseCidr6,
  parseIpv6,
  type Subnet6,
  subnet6Of,
} from "./ipv6.ts";
import { planIpv6 } from "./ipv6-plan.ts";
import { type LinkedNetwork, linkedNetwork } from "./linked-network.ts";
import { type NetworkRecord, networkRecords } from "./records.ts";
import { readHostResolvConf } from "./resolv-conf.ts";
import { chooseSubnet } from "./subnet-choice.ts";
import { type TemplateNetwork, templateNetwork } from "./template-network.ts";
import type { NetworksOptions } from "./types.ts";

/** The networks that are always there, and those of users. */
export interface KnownNetworks {
  readonly bridge: BridgeNetwork;
  readonly host: NetworkRecord;
  readonly none: NetworkRecord;
  readonly users: readonly BridgeNetwork[];
  readonly linked: readonly LinkedNetwork[];
  readonly templates: readonly TemplateNetwork[];
}

export const PREDEFINED = ["bridge", "host", "none"];

interface BridgeAddress {
  readonly subnet: Subnet;
  readonly gateway: Ipv4;
}

/** Read the networks' records, or make them; the default bridge gets a subnet that the host does not use. */
export async function loadNetworks(options: NetworksOptions, route: RouteSocket): Promise<KnownNetworks> {
  const { store, log } = options;
  const { networks } = networkRecords(store);
  const known = await networks.get("bridge");
  const created = new Date().toISOString();
  const host = (await networks.get("host")) ?? { id: newId(), driver: "host", created };
  const none = (await networks.get("none")) ?? { id: newId(), driver: "null", created };

  const address =
    askedAddress(options) ??
    keptAddress(options, route, known) ??
    newAddress(options, subnetsInUse(route, [options.bridge]));
  const was = known?.bridge?.subnet;
  const subnet = formatSubnet(address.subnet);
  if (was !== undefined && was !== subnet) log.warn({ was, subnet }, "the default bridge has a new subnet");

  const id = known?.id ?? newId();
  const mac = known?.bridge?.mac ?? newMac();
  const bridge: NetworkRecord = {
    ...{ id, driver: "bridge", created: known?.created ?? created },
    bridge: { subnet, gateway: formatIpv4(address.gateway), mac, ...defaultIpv6(options, route, known) },
  };
  await store.commit([
    networks.put("bridge", bridge),
    networks.put("host", host),
    networks.put("none", none),
  ]);
  const fallback = defaultBridgeFacts(options, bridge.bridge);
  const users = (await networks.list()).filter(({ key }) => !PREDEFINED.includes(key));
  return {
    bridge: bridgeNetwork("bridge", bridge, fallback),
    ...{ host, none },
    users: users.flatMap(({ key, value }) => (value.bridge ? [bridgeNetwork(key, value, fallback)] : [])),
    linked: users.flatMap(({ key, value }) => linkedNetwork(key, value, hostAddresses(route)) ?? []),
    templates: users.flatMap(({ key, value }) => templateNetwork(key, value) ?? []),
  };
}

/** The recorded subnet stays, unless another one is asked for. */
function defaultIpv6(
  { ipv6, defaultBridge: { bip6 } = {} }: NetworksOptions,
  route: RouteSocket,
  known: NetworkRecord | undefined,
): Pick<NonNullable<NetworkRecord["bridge"]>, "ipv6"> {
  if (ipv6 === undefined) return {};
  const ipam = { ipRange: "", gateway: "", auxiliary: {} };
  if (bip6 !== undefined) {
    const { address, subnet } = parseCidr6(bip6);
    const asked = { ...ipam, subnet: formatSubnet6(subnet), gateway: formatIpv6(address) };
    if (address === subnet.base)
      throw new EngineError("invalid_argument", `${bip6} is no address of a host in a network with room`);
    return { ipv6: planIpv6({ ...asked, ipRange: ipv6 }, []).ipv6 };
  }
  if (ipv6 !== "") return { ipv6: planIpv6({ ...ipam, subnet: ipv6 }, []).ipv6 };
  return { ipv6: known?.bridge?.ipv6 ?? planIpv6({ ...ipam, subnet: "" }, subnets6InUse(route)).ipv6 };
}

/** @throws EngineError `invalid_argument` for a part, or a router, that isn't in the bridge's subnet */
function defaultBridgeFacts(options: NetworksOptions, bridge: NetworkRecord["bridge"]): DefaultBridgeFacts {
  const { bridge: link, ipv6, defaultBridge: { bip6, ipRange, router, router6 } = {} } = options;
  const refuse = (what: string, subnet: string) =>
    new EngineError("invalid_argument", `${what} is not in the subnet ${subnet} of the default bridge`);
  const subnet = parseCidr(bridge?.subnet ?? "").subnet;
  if (ipRange !== undefined) {
    const range = parseCidr(ipRange).subnet;
    if (!contains(subnet, range.base) || !contains(subnet, broadcastOf(range)))
      throw refuse(`fixed-cidr ${ipRange}`, formatSubnet(subnet));
  }
  if (router !== undefined && !contains(subnet, parseIpv4(router) ?? -1))
    throw refuse(`default-gateway ${router}`, formatSubnet(subnet));
  if (router6 !== undefined) {
    const subnet6 = bridge?.ipv6?.subnet ?? "";
    const address = parseIpv6(router6);
    if (address === undefined || subnet6 === "" || !contains6(parseCidr6(subnet6).subnet, address))
      throw refuse(`default-gateway-v6 ${router6}`, subnet6 || "of IPv6, which there is none,");
  }
  return {
    ...{ link, options: defaultBridgeOptions(options), ipRange, router, router6 },
    ...(bip6 !== undefined && ipv6 !== "" && { ipRange6: ipv6 }),
  };
}

/** Docker's options of its default bridge. */
function defaultBridgeOptions({ bridge, defaultBridge = {} }: NetworksOptions): Record<string, string> {
  const { icc = true, masquerade = true, hostBinding = "0.0.0.0", mtu = 1500 } = defaultBridge;
  return {
    "com.docker.network.bridge.default_bridge": "true",
    [OPTION.icc]: String(icc),
    [OPTION.masquerade]: String(masquerade),
    [OPTION.hostBinding]: hostBinding,
    [OPTION.link]: bridge,
    [OPTION.mtu]: String(mtu),
  };
}

/** As `bip` says, or without it what is to be the range of containers' addresses. */
function askedAddress({ bip, defaultBridge: { ipRange } = {} }: NetworksOptions): BridgeAddress | undefined {
  if (bip !== undefined) return givenAddress(bip);
  if (ipRange === undefined) return undefined;
  const { subnet } = parseCidr(ipRange);
  return givenAddress(`${formatIpv4(subnet.base + 1)}/${subnet.prefixLength}`);
}

function givenAddress(bip: string): BridgeAddress {
  const { address: gateway, subnet } = parseCidr(bip);
  // A network of two or fewer addresses has none left for a container.
  if (subnet.prefixLength > 29 || gateway === subnet.base || gateway === broadcastOf(subnet))
    throw new EngineError("invalid_argument", `${bip} is no address of a host in a network with room`);
  return { gateway, subnet };
}

/** The recorded address, unless the host has meanwhile begun to use its network for something else. */
function keptAddress(
  options: NetworksOptions,
  route: RouteSocket,
  known: NetworkRecord | undefined,
): BridgeAddress | undefined {
  const gateway = parseIpv4(known?.bridge?.gateway ?? "");
  if (!known?.bridge || gateway === undefined) return undefined;
  const { subnet } = parseCidr(known.bridge.subnet);
  // Containers may be using it.
  if (route.link(options.bridge)) return { gateway, subnet };
  const taken = subnetsInUse(route, [options.bridge]).some((other) => overlap(other, subnet));
  return taken ? undefined : { gateway, subnet };
}

function newAddress({ addressPools }: NetworksOptions, inUse: readonly Subnet[]): BridgeAddress {
  const subnet = chooseSubnet(inUse, addressPools);
  return { subnet, gateway: subnet.base + 1 };
}

/** Addresses of IPv4 that the host has. */
export function hostAddresses(route: RouteSocket): Ipv4[] {
  return route
    .addresses()
    .filter(({ address }) => address.byteLength === 4)
    .map(({ address }) => ipv4FromBytes(address));
}

/**
 * Networks that the host reaches, or in which its name servers are.
 * @param own interfaces that are left out
 */
export function subnetsInUse(route: RouteSocket, own: readonly string[] = []): Subnet[] {
  const left = new Set(own.flatMap((name) => route.link(name)?.index ?? []));
  const addresses = route
    .addresses()
    .filter(({ index, address }) => !left.has(index) && address.byteLength === 4)
    .map(({ address, prefixLength }) => subnetOf(ipv4FromBytes(address), prefixLength));
  const routes = route
    .routes()
    .filter(({ index, destination }) => !left.has(index ?? 0) && destination.byteLength === 4)
    .map(({ destination, prefixLength }) => subnetOf(ipv4FromBytes(destination), prefixLength));
  const servers = readHostResolvConf()
    .nameservers.flatMap((server) => parseIpv4(server) ?? [])
    .map((server) => subnetOf(server, 32));
  return [...addresses, ...routes, ...servers];
}

/** The same of IPv6; what is of one link only doesn't count. */
export function subnets6InUse(route: RouteSocket): Subnet6[] {
  const isIpv6 = (bytes: Uint8Array) => bytes.byteLength === 16;
  const addresses = route
    .addresses()
    .filter(({ address, global }) => isIpv6(address) && global)
    .map(({ address, prefixLength }) => subnet6Of(ipv6FromBytes(address), prefixLength));
  const routes = route
    .routes()
    .filter(({ destination }) => isIpv6(destination))
    .map(({ destination, prefixLength }) => subnet6Of(ipv6FromBytes(destination), prefixLength));
  return [...addresses, ...routes];
}
