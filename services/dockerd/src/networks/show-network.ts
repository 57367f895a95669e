import type { NetworkFacts } from "@longshore/network";
import type { Engine } from "../engine.ts";

/** A network as `GET /networks/{id}` shows it. */
export function showNetwork(engine: Engine, network: NetworkFacts) {
  const containers = Object.entries(network.containers).map(([id, endpoint]) => [
    id,
    {
      Name: engine.containers.get(id)?.record.name ?? "",
      EndpointID: endpoint.endpointId,
      MacAddress: endpoint.macAddress,
      IPv4Address: endpoint.ipv4Address,
      IPv6Address: endpoint.ipv6Address ?? "",
    },
  ]);
  return {
    Name: network.name,
    Id: network.id,
    Created: network.created,
    Scope: network.scope,
    Driver: network.driver,
    EnableIPv4: network.enableIpv4,
    EnableIPv6: network.enableIpv6,
    IPAM: {
      Driver: "default",
      Options: null,
      Config: network.ipam.map(({ subnet, gateway, ipRange, auxiliary }) => ({
        Subnet: subnet,
        ...(gateway !== "" && { Gateway: gateway }),
        ...(ipRange !== undefined && { IPRange: ipRange }),
        ...(auxiliary && { AuxiliaryAddresses: auxiliary }),
      })),
    },
    Internal: network.internal,
    Attachable: network.attachable,
    Ingress: false,
    ConfigFrom: { Network: network.configFrom },
    ConfigOnly: network.configOnly,
    Containers: Object.fromEntries(containers),
    Options: network.options,
    Labels: network.labels,
  };
}
