import { createHash } from "node:crypto";
import type { Endpoint } from "@longshore/network";
import { type ContainerRecord, ZERO_TIME } from "../containers/container.ts";
import { hasProcess } from "../containers/container-status.ts";
import type { Engine } from "../engine.ts";
import { dnsNames } from "./join-network.ts";
import { JOINED, PREDEFINED, WITHOUT } from "./network-mode.ts";
import { ENDPOINT_INTERFACE, ENDPOINT_SYSCTLS, type NetworkRequest } from "./network-request.ts";

/**
 * A container's networks by name, each with its endpoint's facts.
 * @param options.ownNames its aliases have the names that it has anyway, as inspect shows them before version 1.45 of the API
 */
export function showNetworks(
  engine: Engine,
  record: ContainerRecord,
  { ownNames = false }: { ownNames?: boolean } = {},
): Record<string, object> {
  const { endpoints, networks, config, hostConfig } = record;
  if (config.NetworkDisabled || hostConfig.NetworkMode.startsWith(JOINED)) return {};
  const mode = hostConfig.NetworkMode;
  const isOnOther = networks.length > 0 || !WITHOUT.includes(mode) || record.isOffNone === true;
  if (!isOnOther) {
    const shown = showEndpoint(engine, {
      record,
      request: { ...NO_REQUEST, name: mode },
      endpoint: undefined,
      ownNames,
    });
    return hasProcess(record.state.status)
      ? { [mode]: { ...shown, EndpointID: plainEndpointId(record, idOf(engine, mode)) } }
      : { [mode]: shown };
  }
  return Object.fromEntries(
    networks.map((request) => {
      const endpoint = endpoints.find(({ networkName: name }) => name === request.name);
      return [request.name, showEndpoint(engine, { record, request, endpoint, ownNames })];
    }),
  );
}

/** Of a container on the host's network, or on none: nothing is made for it, so it is named after what it is between. */
export function plainEndpointId({ id, state }: ContainerRecord, networkId: string): string {
  return createHash("sha256").update(`${networkId} ${id} ${state.startedAt}`).digest("hex");
}

const NO_REQUEST: NetworkRequest = { name: "", aliases: [], ipAddress: "", macAddress: "" };

interface ShownEndpoint {
  record: ContainerRecord;
  request: NetworkRequest;
  endpoint: Endpoint | undefined;
  ownNames: boolean;
}

function showEndpoint(engine: Engine, { record, request, endpoint, ownNames }: ShownEndpoint): object {
  const { name, networkId, ipAddress, ip6Address = "", linkLocal = [] } = request;
  const isPlain = WITHOUT.includes(name);
  const hasRun = record.state.startedAt !== ZERO_TIME;
  const asked = {
    ...(ipAddress !== "" && { IPv4Address: ipAddress }),
    ...(ip6Address !== "" && { IPv6Address: ip6Address }),
    ...(linkLocal.length > 0 && { LinkLocalIPs: linkLocal }),
  };
  const own = ownNames && !PREDEFINED.includes(name) ? [record.id.slice(0, 12), record.config.Hostname] : [];
  const aliases = [...new Set([...request.aliases, ...own])];
  return {
    IPAMConfig: Object.keys(asked).length === 0 ? null : asked,
    Links: request.links ?? null,
    Aliases: aliases.length > 0 ? aliases : null,
    MacAddress: endpoint?.macAddress ?? (hasRun ? "" : request.macAddress),
    DriverOpts: showOptions(request),
    GwPriority: request.gatewayPriority ?? 0,
    NetworkID: endpoint?.networkId ?? (isPlain && hasRun ? idOf(engine, name) : (networkId ?? "")),
    EndpointID: endpoint?.endpointId ?? "",
    Gateway: endpoint?.gateway ?? "",
    IPAddress: endpoint?.ipAddress ?? "",
    IPPrefixLen: endpoint?.prefixLen ?? 0,
    IPv6Gateway: endpoint?.ipv6?.gateway ?? "",
    GlobalIPv6Address: endpoint?.ipv6?.address ?? "",
    GlobalIPv6PrefixLen: endpoint?.ipv6?.prefixLen ?? 0,
    DNSNames:
      PREDEFINED.includes(name) || (networkId === undefined && !endpoint) ? null : dnsNames(record, request),
  };
}

function idOf(engine: Engine, name: string): string {
  return engine.networks.list().find((network) => network.name === name)?.id ?? "";
}

function showOptions({ sysctls, interfaceName }: NetworkRequest): Record<string, string> | null {
  if (!sysctls && interfaceName === undefined) return null;
  return {
    ...(sysctls && { [ENDPOINT_SYSCTLS]: showSysctls(sysctls) }),
    ...(interfaceName !== undefined && { [ENDPOINT_INTERFACE]: interfaceName }),
  };
}

function showSysctls(sysctls: Readonly<Record<string, string>>): string {
  return Object.entries(sysctls)
    .map((entry) => entry.join("="))
    .join(",");
}
