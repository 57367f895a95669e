import { RESOLVER_ADDRESS } from "@longshore/dns";
import { EngineError } from "@longshore/errors";
import { type BridgeNetwork, OPTION } from "./bridge-network.ts";
import { PREDEFINED } from "./default-networks.ts";
import { hostsFile } from "./hosts-file.ts";
import { contains, type Ipv4, parseIpv4 } from "./ipv4.ts";
import type { EndpointRecord } from "./records.ts";
import { containerResolvConf, formatResolvConf, readHostResolvConf, resolverConf } from "./resolv-conf.ts";
import type { Endpoint, PortRequest, Sandbox, SandboxRequest } from "./types.ts";

/** An endpoint, with its network. */
export interface Placed {
  readonly network: BridgeNetwork;
  readonly endpoint: EndpointRecord;
}

/** What a container's /etc says of its networks. */
export function etcTexts(
  { hostname, aliases, dns }: Pick<SandboxRequest, "hostname" | "aliases" | "dns">,
  placed: readonly Placed[],
): Pick<Sandbox, "hosts" | "resolvConf"> {
  const names = [hostname, ...aliases];
  const host = readHostResolvConf();
  const asksUs = placed.some(({ network }) => !PREDEFINED.includes(network.name));
  return {
    hosts: hostsFile(placed.map(({ endpoint }) => ({ address: endpoint.address, names }))),
    resolvConf: formatResolvConf(
      asksUs ? resolverConf(RESOLVER_ADDRESS, host, dns) : containerResolvConf(host, dns),
    ),
  };
}

/** A network may say at which address of the host ports are published that name none. */
export function portsAt(placed: readonly Placed[], ports: readonly PortRequest[]): PortRequest[] {
  const options = placed.find(({ network }) => !network.internal)?.network.options;
  return ports.map((port) => ({ ...port, hostIp: port.hostIp || (options?.[OPTION.hostBinding] ?? "") }));
}

export function wantedAddress(network: BridgeNetwork, text: string): Ipv4 {
  const address = parseIpv4(text);
  if (address === undefined) throw new EngineError("invalid_argument", `invalid IPv4 address: ${text}`);
  if (contains(network.subnet, address)) return address;
  throw new EngineError(
    "invalid_argument",
    `invalid config for network ${network.name}: no configured subnet or ip-range contain the IP address ${text}`,
  );
}

export function lowerCase(names: readonly string[]): string[] {
  return [...new Set(names.map((name) => name.toLowerCase()))];
}

export function interfaceOf({ interfaceName = "eth0" }: EndpointRecord): string {
  return interfaceName;
}

export function interfaceNumber(endpoint: EndpointRecord): number {
  return Number(interfaceOf(endpoint).slice("eth".length));
}

/** The first `ethN` that no endpoint has. */
export function freeInterface(present: readonly Placed[]): string {
  const used = new Set(present.map(({ endpoint }) => interfaceNumber(endpoint)));
  let number = 0;
  while (used.has(number)) number++;
  return `eth${number}`;
}

export function endpointFacts({ network, endpoint }: Placed): Endpoint {
  const { networkId, endpointId, address, prefixLength, gateway, mac } = endpoint;
  return {
    ...{ networkId, endpointId, networkName: network.name, interfaceName: interfaceOf(endpoint) },
    gateway: network.internal ? "" : gateway,
    ...{ ipAddress: address, prefixLen: prefixLength, macAddress: mac },
  };
}
