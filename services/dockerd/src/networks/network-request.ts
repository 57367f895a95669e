import { EngineError } from "@longshore/errors";
import type { NetworkFacts } from "@longshore/network";
import type { CreateRequest, EndpointRequest, HostConfig } from "../containers/container-config.ts";
import type { Engine } from "../engine.ts";
import { JOINED, joinedContainer, networkName, WITHOUT } from "./network-mode.ts";

/** A network that a container is to be on, as it was asked for. */
export interface NetworkRequest {
  name: string;
  aliases: string[];
  /** Empty: the next free one. */
  ipAddress: string;
  /** The same of IPv6; missing in records of old. */
  ip6Address?: string;
  /** Empty: made from the address. */
  macAddress: string;
}

/**
 * The networks that a new container is to be on, the one of its mode first.
 *
 * @throws EngineError `not_found` for one that isn't there, `invalid_argument` in Docker's words for what it can't do there
 */
export function requestedNetworks(
  engine: Engine,
  request: CreateRequest,
  host: HostConfig,
): NetworkRequest[] {
  const mode = host.NetworkMode;
  if (mode.startsWith(JOINED)) {
    joinedContainer(engine, mode);
    refuseWithJoined(request);
    return [];
  }
  if (WITHOUT.includes(mode)) return [];
  const configs = Object.entries(request.NetworkingConfig.EndpointsConfig);
  const primary = findBridge(engine, networkName({ hostConfig: host }));
  const networks = new Map([[primary.name, toRequest(primary, undefined, request.MacAddress)]]);
  for (const [nameOrId, config] of configs) {
    const facts = findBridge(engine, nameOrId === "default" ? "bridge" : nameOrId);
    const mac = facts.name === primary.name ? request.MacAddress : "";
    networks.set(facts.name, toRequest(facts, config ?? undefined, mac));
  }
  return [...networks.values()];
}

/** @throws EngineError `not_found`, `invalid_argument` for one that is no bridge */
export function findBridge(engine: Engine, nameOrId: string): NetworkFacts {
  const facts = engine.networks.inspect(nameOrId);
  if (facts.driver === "bridge") return facts;
  throw new EngineError(
    "invalid_argument",
    `container cannot be connected to network ${facts.name} beside others`,
  );
}

/** @throws EngineError `invalid_argument` in Docker's words for what the default bridge can't do */
export function toRequest(
  facts: NetworkFacts,
  config: EndpointRequest | undefined,
  mac: string,
): NetworkRequest {
  const ipAddress = config?.IPAMConfig.IPv4Address ?? "";
  const ip6Address = config?.IPAMConfig.IPv6Address ?? "";
  const aliases = config?.Aliases ?? [];
  if (facts.name === "bridge" && ipAddress + ip6Address !== "") {
    throw new EngineError(
      "invalid_argument",
      "user specified IP address is supported on user defined networks only",
    );
  }
  if (facts.name === "bridge" && aliases.length > 0) {
    throw new EngineError(
      "invalid_argument",
      "network-scoped alias is supported only for containers in user defined networks",
    );
  }
  const macAddress = config?.MacAddress || mac;
  return { name: facts.name, aliases, ipAddress, ip6Address, macAddress };
}

/** What a container that shares another one's network can't have of its own. */
function refuseWithJoined({ Hostname, HostConfig: host, MacAddress, ExposedPorts }: CreateRequest): void {
  const conflicts: [boolean, string][] = [
    [Hostname !== "", "conflicting options: hostname and the network mode"],
    [MacAddress !== "", "conflicting options: mac-address and the network mode"],
    [host.Dns.length > 0, "conflicting options: dns and the network mode"],
    [host.ExtraHosts.length > 0, "conflicting options: custom host-to-IP mapping and the network mode"],
    [
      Object.keys(host.PortBindings).length > 0 || host.PublishAllPorts,
      "conflicting options: port publishing and the container type network mode",
    ],
    [ExposedPorts.length > 0, "conflicting options: port exposing and the container type network mode"],
  ];
  for (const [conflict, message] of conflicts) {
    if (conflict) throw new EngineError("invalid_argument", message);
  }
}
