import { RESOLVER_ADDRESS } from "@longshore/dns";
import { EngineError } from "@longshore/errors";
import { type AttachedNetwork, hasNames, isBridge } from "./attached-network.ts";
import { OPTION } from "./bridge-network.ts";
import { hostsFile } from "./hosts-file.ts";
import { contains, type Ipv4, parseIpv4 } from "./ipv4.ts";
import { contains6, type Ipv6, parseIpv6 } from "./ipv6.ts";
import type { EndpointRecord } from "./records.ts";
import {
  containerResolvConf,
  type DnsSettings,
  formatResolvConf,
  readHostResolvConf,
  resolverConf,
} from "./resolv-conf.ts";
import type { Endpoint, PortRequest, Sandbox, SandboxRequest } from "./types.ts";

/** An endpoint, with its network. */
export interface Placed {
  readonly network: AttachedNetwork;
  readonly endpoint: EndpointRecord;
  /** What is to be set for its interface when that is made. */
  readonly sysctls?: Readonly<Record<string, string>>;
  /** Further addresses of it, of its link only. */
  readonly linkLocal?: readonly string[];
}

/**
 * The one by which what is for elsewhere goes, which is also where published ports lead. Of those that aren't internal that is, as in Docker,
 * the one of the highest priority; of these one that has both families, if there is one; and of those the first by its name.
 */
export function routed(placed: readonly Placed[], family: "ipv4" | "ipv6"): Placed | undefined {
  const able = placed.filter(
    ({ network, endpoint }) =>
      !network.internal && (family === "ipv4" ? endpoint.address !== "" : endpoint.ipv6 !== undefined),
  );
  const families = ({ endpoint }: Placed): number => (endpoint.ipv6 ? 1 : 0) + (endpoint.address ? 1 : 0);
  const [first] = able.toSorted(
    (one, other) =>
      priorityOf(other) - priorityOf(one) ||
      families(other) - families(one) ||
      (one.network.name < other.network.name ? -1 : 1),
  );
  return first;
}

/** The one at which its published ports are reached: only what comes by a bridge can be led there. */
export function publisher(placed: readonly Placed[], family: "ipv4" | "ipv6"): Placed | undefined {
  return routed(
    placed.filter(({ network }) => isBridge(network)),
    family,
  );
}

const priorityOf = ({ endpoint: { gatewayPriority = 0 } }: Placed): number => gatewayPriority;

/** Its addresses of both kinds. */
export function addressesOf({ address, ipv6 }: EndpointRecord): string[] {
  return [address, ipv6?.address ?? ""].filter((one) => one !== "");
}

/** What a container's /etc says of its networks. */
export function etcTexts(
  { hostname, aliases, dns }: Pick<SandboxRequest, "hostname" | "aliases" | "dns">,
  placed: readonly Placed[],
): Pick<Sandbox, "hosts" | "resolvConf"> {
  const names = [hostname, ...aliases];
  return {
    hosts: hostsFile(
      placed.flatMap(({ endpoint }) => addressesOf(endpoint).map((address) => ({ address, names }))),
    ),
    resolvConf: resolvConfFor(placed, dns),
  };
}

/** Who is on a network of a user's asks us, all others ask the host's servers, or those that they were given. */
export function resolvConfFor(placed: readonly Placed[], dns: DnsSettings | undefined): string {
  const host = readHostResolvConf();
  const asksUs = placed.some(({ network }) => hasNames(network));
  return formatResolvConf(
    asksUs ? resolverConf(RESOLVER_ADDRESS, host, dns) : containerResolvConf(host, dns),
  );
}

/** A network may say at which address of the host ports are published that name none. */
export function portsAt(placed: readonly Placed[], ports: readonly PortRequest[]): PortRequest[] {
  const binding = publisher(placed, "ipv4")?.network.options[OPTION.hostBinding] ?? "";
  // As a setting, any address of IPv4 means any address.
  const usual = binding === "0.0.0.0" ? "" : binding;
  return ports.map((port) => ({ ...port, hostIp: port.hostIp || usual }));
}

export function wantedAddress(network: AttachedNetwork, text: string): Ipv4 {
  const address = parseIpv4(text);
  if (address === undefined) throw new EngineError("invalid_argument", `invalid IPv4 address: ${text}`);
  const subnets = network.withoutIpv4 ? [] : [network, ...(network.further ?? [])];
  if (subnets.some(({ subnet }) => contains(subnet, address))) return address;
  throw new EngineError(
    "invalid_argument",
    `invalid config for network ${network.name}: no configured subnet or ip-range contain the IP address ${text}`,
  );
}

export function wantedAddress6({ name, ipv6 }: AttachedNetwork, text: string): Ipv6 {
  const address = parseIpv6(text);
  if (address === undefined) throw new EngineError("invalid_argument", `invalid IPv6 address: ${text}`);
  const subnets = ipv6 ? [ipv6, ...(ipv6.further ?? [])] : [];
  if (subnets.some(({ subnet }) => contains6(subnet, address))) return address;
  throw new EngineError(
    "invalid_argument",
    `invalid config for network ${name}: no configured subnet or ip-range contain the IP address ${text}`,
  );
}

export function lowerCase(names: readonly string[]): string[] {
  return [...new Set(names.map((name) => name.toLowerCase()))];
}

export function lowerCaseLinks(links: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(links).map(([alias, name]) => [alias.toLowerCase(), name.toLowerCase()]),
  );
}

export function interfaceOf({ interfaceName = "eth0" }: EndpointRecord): string {
  return interfaceName;
}

/** Those that were given a name of their own come last. */
export function interfaceNumber(endpoint: EndpointRecord): number {
  const [, number] = /^eth(\d+)$/.exec(interfaceOf(endpoint)) ?? [];
  return number === undefined ? Number.POSITIVE_INFINITY : Number(number);
}

/**
 * `eth2`: after all that there are, and none that somebody wants.
 * @param taken names of interfaces
 */
export function freeInterface(taken: readonly string[]): string {
  const numbers = taken.flatMap((name) => /^eth(\d{1,9})$/.exec(name)?.[1] ?? []).map(Number);
  return `eth${Math.max(-1, ...numbers) + 1}`;
}

/** What the kernel takes as it is: `%` would be a number of its choice. */
const INTERFACE_NAME = /^(?!\.{1,2}$)[^\s/:%]+$/;
const INTERFACE_BYTES = 15;

/** @throws EngineError `invalid_argument` for what can't be an interface's name, or is another one's */
export function checkInterface(name: string, taken: readonly string[]): string {
  if (!INTERFACE_NAME.test(name) || Buffer.byteLength(name) > INTERFACE_BYTES)
    throw new EngineError("invalid_argument", `invalid interface name: ${JSON.stringify(name)}`);
  if (name !== "lo" && !taken.includes(name)) return name;
  throw new EngineError("invalid_argument", `interface name already in use: ${JSON.stringify(name)}`);
}

/** Whether whatever is for elsewhere is simply sent, to no router. */
export function routesByLink(network: AttachedNetwork): boolean {
  return !isBridge(network) && network.how.driver === "ipvlan" && network.how.mode !== "l2";
}

export function endpointFacts({ network, endpoint }: Placed): Endpoint {
  const { networkId, endpointId, address, prefixLength, gateway, mac, ipv6 } = endpoint;
  return {
    ...{ networkId, endpointId, networkName: network.name, interfaceName: interfaceOf(endpoint) },
    ...(!isBridge(network) && { driver: network.driver }),
    gateway: network.internal || routesByLink(network) ? "" : gateway,
    ...{ ipAddress: address, prefixLen: prefixLength, macAddress: mac },
    ...(ipv6 && {
      ipv6: {
        ...{ address: ipv6.address, prefixLen: ipv6.prefixLength },
        gateway: network.internal || routesByLink(network) ? "" : ipv6.gateway,
      },
    }),
  };
}
