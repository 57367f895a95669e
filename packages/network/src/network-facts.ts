import type { AttachedNetwork } from "./attached-network.ts";
import { formatIpv4, formatSubnet } from "./ipv4.ts";
import { formatIpv6, formatSubnet6 } from "./ipv6.ts";
import type { EndpointRecord } from "./records.ts";
import type { NetworkFacts, NetworkMember } from "./types.ts";

/** Those of `auxiliary` that are of one family; none is left out altogether. */
function auxiliaryOf(auxiliary: Readonly<Record<string, string>>, isIpv6: boolean) {
  const some = Object.entries(auxiliary).filter(([, address]) => address.includes(":") === isIpv6);
  return some.length > 0 && { auxiliary: Object.fromEntries(some) };
}

/** As the Engine API shows it. */
export function networkFacts(network: AttachedNetwork, endpoints: readonly EndpointRecord[]): NetworkFacts {
  const { driver, id, name, created, internal, attachable, options, labels, auxiliary, ipRange, ipv6 } =
    network;
  const containers = endpoints.map((endpoint) => [endpoint.containerId, memberOf(endpoint)]);
  return {
    ...{ id, name, created, internal, attachable, options, labels },
    ...{ driver, scope: "local", enableIpv6: ipv6 !== undefined },
    ...{ configOnly: false, configFrom: network.configFrom },
    ipam: [
      {
        subnet: formatSubnet(network.subnet),
        gateway: formatIpv4(network.gateway),
        ...(ipRange && { ipRange: formatSubnet(ipRange) }),
        ...auxiliaryOf(auxiliary, false),
      },
      ...(ipv6
        ? [
            {
              subnet: formatSubnet6(ipv6.subnet),
              gateway: formatIpv6(ipv6.gateway),
              ...(ipv6.ipRange && { ipRange: formatSubnet6(ipv6.ipRange) }),
              ...auxiliaryOf(auxiliary, true),
            },
          ]
        : []),
    ],
    containers: Object.fromEntries(containers),
  };
}

function memberOf({ endpointId, mac, address, prefixLength, ipv6 }: EndpointRecord): NetworkMember {
  return {
    ...{ endpointId, macAddress: mac, ipv4Address: `${address}/${prefixLength}` },
    ...(ipv6 && { ipv6Address: `${ipv6.address}/${ipv6.prefixLength}` }),
  };
}
