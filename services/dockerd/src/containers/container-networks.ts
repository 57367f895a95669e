import fs from "node:fs";
import path from "node:path";
import { EngineError, errorCode } from "@longshore/errors";
import type { Attachment, Endpoint, NetworkFacts, SandboxRequest } from "@longshore/network";
import { containerDir, type Engine } from "../engine.ts";
import type { Container, ContainerRecord } from "./container.ts";
import type { CreateRequest, EndpointRequest, HostConfig } from "./container-config.ts";
import { updateState } from "./container-record.ts";
import { hasProcess } from "./container-status.ts";
import { newId } from "./names.ts";
import { portRequests } from "./port-bindings.ts";

/** A network that a container is to be on, as it was asked for. */
export interface NetworkRequest {
  name: string;
  aliases: string[];
  /** Empty: the next free one. */
  ipAddress: string;
  /** Empty: made from the address. */
  macAddress: string;
}

const JOINED = "container:";
/** Modes that mean no networks of the container's own. */
const WITHOUT = ["none", "host"];
const PREDEFINED = ["bridge", ...WITHOUT];

/** The container whose network a mode means; undefined for other modes. @throws EngineError `not_found` */
export function joinedContainer(engine: Engine, mode: string): Container | undefined {
  return mode.startsWith(JOINED) ? engine.containers.find(mode.slice(JOINED.length)) : undefined;
}

/** The network that a mode means. */
export function networkName({ hostConfig: { NetworkMode } }: Pick<ContainerRecord, "hostConfig">): string {
  return NetworkMode === "default" ? "bridge" : NetworkMode;
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

function findBridge(engine: Engine, nameOrId: string): NetworkFacts {
  const facts = engine.networks.inspect(nameOrId);
  if (facts.driver === "bridge") return facts;
  throw new EngineError(
    "invalid_argument",
    `container cannot be connected to network ${facts.name} beside others`,
  );
}

function toRequest(facts: NetworkFacts, config: EndpointRequest | undefined, mac: string): NetworkRequest {
  const ipAddress = config?.IPAMConfig.IPv4Address ?? "";
  const aliases = config?.Aliases ?? [];
  if (facts.name === "bridge" && ipAddress !== "") {
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
  return { name: facts.name, aliases, ipAddress, macAddress: config?.MacAddress || mac };
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

/** A container's network for one run. */
export interface NetworkPlan {
  /** To be made; empty when it is another container's. */
  sandboxId: string;
  netnsPath: string;
}

/** @returns undefined for the host's network @throws EngineError `conflict` for the network of a container that doesn't run */
export function planNetwork(
  engine: Engine,
  { config, hostConfig }: ContainerRecord,
): NetworkPlan | undefined {
  if (hostConfig.NetworkMode === "host" && !config.NetworkDisabled) return undefined;
  const joined = joinedContainer(engine, hostConfig.NetworkMode);
  if (!joined) {
    const sandboxId = newId();
    return { sandboxId, netnsPath: path.join(engine.flags.execRoot, "netns", sandboxId) };
  }
  if (!hasProcess(joined.record.state.status)) {
    throw new EngineError("conflict", `cannot join network of a non running container: ${joined.id}`);
  }
  return { sandboxId: "", netnsPath: `/proc/${joined.record.state.pid}/ns/net` };
}

/** Make the container's network and write its /etc files. */
export async function joinNetwork(
  engine: Engine,
  record: ContainerRecord,
  plan: NetworkPlan | undefined,
): Promise<Pick<ContainerRecord, "endpoints" | "ports">> {
  const { hosts, resolvConf } = etcFiles(engine, record);
  if (plan?.sandboxId === "") return NO_NETWORK; // all of it is the other container's
  if (!plan) {
    fs.writeFileSync(hosts, hostsFile(fs.readFileSync("/etc/hosts", "utf8"), record));
    fs.copyFileSync("/etc/resolv.conf", resolvConf);
    return NO_NETWORK;
  }
  const sandbox = await engine.networks.createSandbox(sandboxRequest(record, plan.sandboxId));
  fs.writeFileSync(hosts, hostsFile(sandbox.hosts, record));
  fs.writeFileSync(resolvConf, sandbox.resolvConf);
  for (const endpoint of sandbox.endpoints) tellNetworkEvent(engine, "connect", endpoint, record.id);
  return { endpoints: [...sandbox.endpoints], ports: [...sandbox.ports] };
}

const NO_NETWORK: Pick<ContainerRecord, "endpoints" | "ports"> = { endpoints: [], ports: [] };

function sandboxRequest(record: ContainerRecord, sandboxId: string): SandboxRequest {
  const { id, config, hostConfig, networks } = record;
  return {
    ...{ sandboxId, containerId: id, hostname: config.Hostname },
    attachments: config.NetworkDisabled ? [] : networks.map((request) => toAttachment(record, request)),
    aliases: networks.flatMap(({ aliases }) => aliases),
    ports: portRequests(config, hostConfig),
    dns: { nameservers: hostConfig.Dns, search: hostConfig.DnsSearch, options: hostConfig.DnsOptions },
  };
}

/** What others on a network call a container. */
function dnsNames({ name, id, config }: ContainerRecord, { aliases }: NetworkRequest): string[] {
  return [...new Set([name, ...aliases, id.slice(0, 12), config.Hostname])].filter((one) => one !== "");
}

/** Let others know a container by its new name, on all networks that it is on. */
export async function renameOnNetworks(engine: Engine, { record }: Container): Promise<void> {
  for (const { networkId, networkName: network } of record.endpoints) {
    const request = record.networks.find(({ name }) => name === network);
    if (request) await engine.networks.rename(record.sandboxId, networkId, dnsNames(record, request));
  }
}

function toAttachment(record: ContainerRecord, request: NetworkRequest): Attachment {
  const { name, ipAddress, macAddress } = request;
  return {
    network: name,
    names: dnsNames(record, request),
    ...(ipAddress !== "" && { ipAddress }),
    ...(macAddress !== "" && { mac: macAddress }),
  };
}

/** Files of this daemon that appear in a container's /etc; with another one's network they are that one's. */
export function etcFiles(engine: Engine, { id, hostConfig }: ContainerRecord) {
  const owner = joinedContainer(engine, hostConfig.NetworkMode)?.id ?? id;
  const directory = containerDir(engine, owner);
  return {
    hosts: path.join(directory, "hosts"),
    hostname: path.join(directory, "hostname"),
    resolvConf: path.join(directory, "resolv.conf"),
  };
}

function hostsFile(text: string, { hostConfig }: ContainerRecord): string {
  const extra = hostConfig.ExtraHosts.map((entry) => {
    const at = entry.indexOf(":");
    return `${entry.slice(at + 1)}\t${entry.slice(0, at)}\n`;
  });
  return text + extra.join("");
}

/**
 * Put a container on one more network, at once when it runs.
 *
 * @throws EngineError `conflict` when it is on it, `invalid_argument` when its network isn't its own
 */
export function connectContainer(
  engine: Engine,
  container: Container,
  nameOrId: string,
  config: EndpointRequest | undefined,
): Promise<void> {
  return container.lock.run(async () => {
    const facts = findBridge(engine, nameOrId);
    const { record } = container;
    if (
      WITHOUT.includes(record.hostConfig.NetworkMode) &&
      record.networks.length === 0 &&
      record.hostConfig.NetworkMode === "host"
    ) {
      throw new EngineError(
        "permission_denied",
        "container cannot be disconnected from host network or connected to host network",
      );
    }
    if (record.hostConfig.NetworkMode.startsWith(JOINED)) {
      throw new EngineError(
        "permission_denied",
        "container sharing network namespace with another container or host cannot be connected to any other network",
      );
    }
    if (record.networks.some(({ name }) => name === facts.name)) {
      throw new EngineError(
        "permission_denied",
        `endpoint with name ${record.name} already exists in network ${facts.name}`,
      );
    }
    await engine.store.check();
    const request = toRequest(facts, config, "");
    const networks = [...record.networks, request];
    if (record.sandboxId === "") {
      await updateState(engine, container, {}, { networks });
      return;
    }
    const dns = { nameservers: record.hostConfig.Dns };
    const sandbox = { sandboxId: record.sandboxId, containerId: container.id, dns };
    const endpoint = await engine.networks.connect(sandbox, toAttachment(record, request));
    const endpoints = [...record.endpoints, endpoint];
    await updateState(engine, container, {}, { networks, endpoints });
    tellNetworkEvent(engine, "connect", endpoint, container.id);
  });
}

/** Take a container off a network, at once when it runs. */
export function disconnectContainer(
  engine: Engine,
  container: Container,
  nameOrId: string,
  force: boolean,
): Promise<void> {
  return container.lock.run(async () => {
    const facts = engine.networks.inspect(nameOrId);
    const { record } = container;
    if (!record.networks.some(({ name }) => name === facts.name)) {
      if (force) return;
      throw new EngineError(
        "permission_denied",
        `container ${container.id} is not connected to network ${facts.name}`,
      );
    }
    await engine.store.check();
    const networks = record.networks.filter(({ name }) => name !== facts.name);
    const gone = record.endpoints.find(({ networkId }) => networkId === facts.id);
    if (gone) {
      try {
        await engine.networks.disconnect(record.sandboxId, facts.id);
      } catch (error) {
        if (errorCode(error) !== "not_found") throw error;
      }
    }
    const endpoints = record.endpoints.filter((endpoint) => endpoint !== gone);
    await updateState(engine, container, {}, { networks, endpoints });
    if (gone) tellNetworkEvent(engine, "disconnect", gone, container.id);
  });
}

export function tellNetworkEvent(
  engine: Engine,
  action: "connect" | "disconnect",
  { networkId, networkName: name }: Endpoint,
  container: string,
): void {
  engine.events.emit("network", action, networkId, { container, name, type: "bridge" });
}

/** A container's networks by name, each with its endpoint's facts. */
export function showNetworks(engine: Engine, record: ContainerRecord): Record<string, object> {
  const { endpoints, networks, config, hostConfig } = record;
  if (config.NetworkDisabled || hostConfig.NetworkMode.startsWith(JOINED)) return {};
  const mode = hostConfig.NetworkMode;
  const own = networks.length > 0 || !WITHOUT.includes(mode) ? networks : [{ ...NO_REQUEST, name: mode }];
  return Object.fromEntries(
    own.map((request) => {
      const endpoint = endpoints.find(({ networkName: name }) => name === request.name);
      return [request.name, showEndpoint(engine, { record, request, endpoint })];
    }),
  );
}

const NO_REQUEST: NetworkRequest = { name: "", aliases: [], ipAddress: "", macAddress: "" };

interface ShownEndpoint {
  record: ContainerRecord;
  request: NetworkRequest;
  endpoint: Endpoint | undefined;
}

function showEndpoint(engine: Engine, { record, request, endpoint }: ShownEndpoint): object {
  const { name, aliases, ipAddress } = request;
  return {
    IPAMConfig: ipAddress === "" ? null : { IPv4Address: ipAddress },
    Links: null,
    Aliases: aliases.length > 0 ? aliases : null,
    MacAddress: endpoint?.macAddress ?? "",
    DriverOpts: null,
    NetworkID: endpoint?.networkId ?? networkId(engine, name),
    EndpointID: endpoint?.endpointId ?? "",
    Gateway: endpoint?.gateway ?? "",
    IPAddress: endpoint?.ipAddress ?? "",
    IPPrefixLen: endpoint?.prefixLen ?? 0,
    IPv6Gateway: "",
    GlobalIPv6Address: "",
    GlobalIPv6PrefixLen: 0,
    DNSNames: PREDEFINED.includes(name) ? null : dnsNames(record, request),
  };
}

function networkId(engine: Engine, name: string): string {
  return engine.networks.list().find((network) => network.name === name)?.id ?? "";
}
