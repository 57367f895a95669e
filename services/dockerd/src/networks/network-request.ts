import { EngineError, errorCode, toEngineError } from "@longshore/errors";
import type { NetworkFacts } from "@longshore/network";
import type { CreateRequest, EndpointRequest, HostConfig } from "../containers/container-config.ts";
import type { Engine } from "../engine.ts";
import { contains, type Family, parseAddress, parsePrefix } from "./ip-prefix.ts";
import { JOINED, joinedContainer, networkName, WITHOUT } from "./network-mode.ts";

/** A network that a container is to be on, as it was asked for. */
export interface NetworkRequest {
  name: string;
  /** Of the network that it was on when it last ran; empty: it hasn't run there since it was connected. Missing: since it was made. */
  networkId?: string;
  aliases: string[];
  /** Empty: the next free one. */
  ipAddress: string;
  /** The same of IPv6; missing in records of old. */
  ip6Address?: string;
  /** Empty: made from the address. */
  macAddress: string;
  /** That of the highest has the default route. */
  gatewayPriority?: number;
  /** Of its interface; the next `ethN` when left out. */
  interfaceName?: string;
  /** Further addresses of it. */
  linkLocal?: string[];
  /** Settings of the kernel for its interface, with IFNAME for its name. */
  sysctls?: Record<string, string>;
  /** What it alone calls others, as `container:alias`. */
  links?: string[];
}

/**
 * The networks that a new container is to be on, the one of its mode first.
 *
 * @throws EngineError `invalid_argument` in Docker's words for what it can't do there
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
  const asked = Object.entries(request.NetworkingConfig.EndpointsConfig);
  if (WITHOUT.includes(mode)) {
    if (asked.every(([name]) => name === mode)) return [];
    throw mode === "host" ? conflictWithHost() : conflictWithNone();
  }
  const main = networkName({ hostConfig: host });
  // Networks that are named one by one are all of them, whatever the mode is.
  const configs = asked.length > 0 ? asked : [[main, undefined] as const];
  const found = configs.map(([nameOrId, config]) => {
    if (config === null)
      throw new EngineError(
        "invalid_argument",
        `invalid config for network ${nameOrId}: EndpointsConfig is nil`,
      );
    const name = nameOrId === "default" ? "bridge" : nameOrId;
    const facts = findForLater(engine, name);
    const isMain = configs.length === 1 || [facts.name, facts.id, nameOrId].includes(main);
    return { facts, config, isMain };
  });
  if (request.MacAddress !== "" && !found.some(({ isMain }) => isMain)) {
    throw new EngineError(
      "invalid_argument",
      "unable to migrate container-wide MAC address to a specific network: HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks",
    );
  }
  const networks = new Map<string, NetworkRequest>();
  for (const { facts, config, isMain } of found.sort((a, b) => Number(b.isMain) - Number(a.isMain))) {
    const mac = isMain ? request.MacAddress : "";
    if (mac !== "" && config?.MacAddress && config.MacAddress !== mac) {
      throw new EngineError(
        "invalid_argument",
        "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty",
      );
    }
    try {
      networks.set(facts.name, toRequest(facts, config, mac));
    } catch (cause) {
      const { code, message } = toEngineError(cause);
      throw new EngineError(code, `invalid config for network ${facts.name}: ${message}`, { cause });
    }
  }
  return [...networks.values()];
}

/** What is known of a network; it may have to be made yet. */
type KnownFacts = Pick<NetworkFacts, "name"> & Partial<Pick<NetworkFacts, "id" | "ipam">>;

/** A network, or only the name of one that isn't there: it has to be when the container starts. */
function findForLater(engine: Engine, nameOrId: string): KnownFacts {
  try {
    return findNetwork(engine, nameOrId);
  } catch (error) {
    if (errorCode(error) !== "not_found") throw error;
    return { name: nameOrId };
  }
}

/** A network that a container can have an interface of. @throws EngineError `not_found`, `invalid_argument` for others */
export function findNetwork(engine: Engine, nameOrId: string): NetworkFacts {
  const facts = engine.networks.inspect(nameOrId);
  if (!["host", "null"].includes(facts.driver)) return facts;
  if (facts.configOnly)
    throw new EngineError("permission_denied", "cannot create endpoint on configuration-only network");
  if (facts.driver === "host") throw conflictWithHost();
  throw conflictWithNone();
}

export function conflictWithNone(): EngineError {
  return new EngineError(
    "invalid_argument",
    "container cannot be connected to multiple networks with one of the networks in private (none) mode",
  );
}

export function conflictWithHost(): EngineError {
  return new EngineError(
    "invalid_argument",
    "container cannot be disconnected from host network or connected to host network",
  );
}

/** @throws EngineError `invalid_argument` in Docker's words for what the default bridge can't do */
export function toRequest(
  facts: KnownFacts,
  config: EndpointRequest | undefined,
  mac: string,
): NetworkRequest {
  const ipAddress = config?.IPAMConfig.IPv4Address ?? "";
  const ip6Address = config?.IPAMConfig.IPv6Address ?? "";
  const aliases = config?.Aliases ?? [];
  const macAddress = config?.MacAddress || mac;
  const errors: string[] = [];
  if (facts.name === "bridge" && ipAddress + ip6Address !== "")
    errors.push("user specified IP address is supported on user defined networks only");
  if (facts.name === "bridge" && aliases.length > 0)
    errors.push("network-scoped alias is supported only for containers in user defined networks");
  errors.push(...addressErrors(facts, ipAddress, "IPv4"), ...addressErrors(facts, ip6Address, "IPv6"));
  if (macAddress !== "" && !MAC.test(macAddress)) errors.push(`invalid MAC address ${macAddress}`);
  const links = config?.Links ?? [];
  if (facts.name === "bridge" && links.length > 0)
    errors.push("links on the default bridge are not supported");
  const linkLocal = config?.IPAMConfig.LinkLocalIPs ?? [];
  for (const text of linkLocal)
    if (!parseAddress(text)?.value) errors.push(`invalid link-local IP address: ${text}`);
  const { sysctls, interfaceName, errors: wrong } = driverOptions(config?.DriverOpts ?? {});
  errors.push(...wrong);
  if (errors.length > 0) {
    const list = errors.length === 1 ? errors[0] : errors.map((error) => `* ${error}`).join("\n");
    throw new EngineError("invalid_argument", `invalid endpoint settings:\n${list}`);
  }
  return {
    ...{ name: facts.name, aliases, ipAddress, ip6Address },
    macAddress: macAddress.toLowerCase().replaceAll("-", ":"),
    ...(config?.GwPriority && { gatewayPriority: config.GwPriority }),
    ...(links.length > 0 && { links }),
    ...(Object.keys(sysctls).length > 0 && { sysctls }),
    ...(interfaceName !== undefined && { interfaceName }),
    ...(linkLocal.length > 0 && { linkLocal: [...linkLocal] }),
  };
}

/** The driver's option for settings of the kernel, each as `net.X.Y.IFNAME.Z=value`, with commas between them. */
export const ENDPOINT_SYSCTLS = "com.docker.network.endpoint.sysctls";

/** The driver's option for the name of the interface. */
export const ENDPOINT_INTERFACE = "com.docker.network.endpoint.ifname";

/** The driver options of an endpoint, of which there are two. */
function driverOptions(options: Readonly<Record<string, string>>) {
  const sysctls: Record<string, string> = {};
  const errors: string[] = [];
  const interfaceName = options[ENDPOINT_INTERFACE];
  for (const [option, text] of Object.entries(options)) {
    if (option === ENDPOINT_INTERFACE) continue;
    if (option !== ENDPOINT_SYSCTLS) {
      errors.push(`driver option ${option} is not supported`);
      continue;
    }
    for (const sysctl of text.split(",")) {
      const at = sysctl.indexOf("=");
      const key = sysctl.slice(0, at);
      if (at > 0 && /^net\.(ipv4|ipv6|mpls)\.\w+\.ifname\.\w+$/i.test(key))
        sysctls[key] = sysctl.slice(at + 1);
      else
        errors.push(
          `unrecognised network interface sysctl '${sysctl}'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'`,
        );
    }
  }
  return { sysctls, interfaceName, errors };
}

const MAC = /^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i;

function addressErrors({ ipam, name }: KnownFacts, text: string, family: Family): string[] {
  if (text === "" || name === "bridge") return [];
  const address = parseAddress(text);
  if (address?.family !== family || address.value === 0n) return [`invalid ${family} address: ${text}`];
  if (!ipam) return [];
  const inside = ipam.some(({ subnet }) => {
    const prefix = parsePrefix(subnet);
    return prefix !== undefined && contains(prefix, address);
  });
  return inside ? [] : [`no configured subnet or ip-range contain the IP address ${text}`];
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
