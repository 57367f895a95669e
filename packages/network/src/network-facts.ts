import type { AttachedNetwork } from "./attached-network.ts";
import type { FurtherSubnet, FurtherSubnet6 } from "./endpoints.ts";
import { contains, formatIpv4, formatSubnet, parseIpv4 } from "./ipv4.ts";
import { contains6, formatIpv6, formatSubnet6, parseIpv6 } from "./ipv6.ts";
import type { EndpointRecord, NetworkRecord } from "./records.ts";
import type { NetworkFacts, NetworkMember } from "./types.ts";

/** Those of `auxiliary` that are of one subnet; none is left out altogether. */
function auxiliaryOf(auxiliary: Readonly<Record<string, string>>, isWithin: (address: string) => boolean) {
  const some = Object.entries(auxiliary).filter(([, address]) => isWithin(address));
  return some.length > 0 && { auxiliary: Object.fromEntries(some) };
}

type Auxiliary = Readonly<Record<string, string>>;
type Ipam = NetworkFacts["ipam"][number];

function ipamOf({ subnet, gateway, ipRange }: FurtherSubnet, auxiliary: Auxiliary): Ipam {
  return {
    ...{ subnet: formatSubnet(subnet), gateway: formatIpv4(gateway) },
    ...(ipRange && { ipRange: formatSubnet(ipRange) }),
    ...auxiliaryOf(auxiliary, (address) => contains(subnet, parseIpv4(address) ?? -1)),
  };
}

function ipam6Of({ subnet, gateway, ipRange }: FurtherSubnet6, auxiliary: Auxiliary): Ipam {
  const isWithin = (text: string) => {
    const address = parseIpv6(text);
    return address !== undefined && contains6(subnet, address);
  };
  return {
    ...{ subnet: formatSubnet6(subnet), gateway: formatIpv6(gateway) },
    ...(ipRange && { ipRange: formatSubnet6(ipRange) }),
    ...auxiliaryOf(auxiliary, isWithin),
  };
}

/** As the Engine API shows it. */
export function networkFacts(network: AttachedNetwork, endpoints: readonly EndpointRecord[]): NetworkFacts {
  const { driver, id, name, created, internal, attachable, options, labels, auxiliary, ipv6 } = network;
  const { further = [], withoutIpv4 = false } = network;
  const containers = endpoints.map((endpoint) => [endpoint.containerId, memberOf(endpoint)]);
  return {
    ...{ id, name, created, internal, attachable, options, labels },
    ...{ driver, scope: "local", enableIpv4: !withoutIpv4, enableIpv6: ipv6 !== undefined },
    ...{ configOnly: false, configFrom: network.configFrom },
    ipam: [
      ...(withoutIpv4 ? [] : [network, ...further]).map((one) => ipamOf(one, auxiliary)),
      ...(ipv6 ? [ipv6, ...(ipv6.further ?? [])] : []).map((one) => ipam6Of(one, auxiliary)),
    ],
    containers: Object.fromEntries(containers),
  };
}

/** Of a network that has no addresses. */
export function plainFacts(name: string, { id, driver, created }: NetworkRecord): NetworkFacts {
  return {
    ...{ id, name, driver, created, scope: "local" },
    ...{ internal: false, attachable: false, enableIpv4: true, enableIpv6: false, labels: {} },
    ...{ configOnly: false, configFrom: "" },
    ...{ ipam: [], options: {}, containers: {} },
  };
}

function memberOf({ endpointId, mac, address, prefixLength, ipv6 }: EndpointRecord): NetworkMember {
  return {
    ...{ endpointId, macAddress: mac, ipv4Address: address && `${address}/${prefixLength}` },
    ...(ipv6 && { ipv6Address: `${ipv6.address}/${ipv6.prefixLength}` }),
  };
}
