import type { NetworkFacts } from "@longshore/network";
import type { Container } from "../containers/container.ts";
import { hasProcess } from "../containers/container-status.ts";
import type { Engine } from "../engine.ts";
import { jsonInteger } from "../http/json-integer.ts";
import { plainEndpointId } from "./show-endpoints.ts";

/** Who is on a network. */
export function showMembers(engine: Engine, network: NetworkFacts): object {
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
  const plain = plainMembers(engine, network).map(({ record }) => [
    record.id,
    {
      Name: record.name,
      EndpointID: plainEndpointId(record, network.id),
      ...{ MacAddress: "", IPv4Address: "", IPv6Address: "" },
    },
  ]);
  return Object.fromEntries([...containers, ...plain]);
}

/** How many of a network's addresses are in use, and how many are left. */
export function showStatus({ networks }: Engine, { id }: NetworkFacts): object {
  const counts = [...networks.addressCounts(id)].map(([subnet, { inUse, available }]) => [
    subnet,
    { IPsInUse: jsonInteger(saturated(inUse)), DynamicIPsAvailable: jsonInteger(saturated(available)) },
  ]);
  return { IPAM: counts.length > 0 ? { Subnets: Object.fromEntries(counts) } : {} };
}

/** As a number of 64 bits. */
function saturated(count: bigint): bigint {
  const most = 2n ** 64n - 1n;
  return count > most ? most : count;
}

/** A network as lists show it. */
export function showNetwork(network: NetworkFacts) {
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
    Options: network.options,
    Labels: network.labels,
  };
}

/** Containers whose processes are on the host's network, or on none. */
function plainMembers(engine: Engine, { driver, configOnly, name }: NetworkFacts): Container[] {
  if (configOnly || !["host", "null"].includes(driver)) return [];
  return engine.containers.list().filter(({ record }) => {
    const { state, hostConfig, networks, config } = record;
    const isOn = hostConfig.NetworkMode === name && networks.length === 0 && record.isOffNone !== true;
    return isOn && hasProcess(state.status) && !config.NetworkDisabled;
  });
}
