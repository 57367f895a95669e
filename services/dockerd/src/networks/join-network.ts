import path from "node:path";
import { EngineError, toEngineError } from "@longshore/errors";
import type { Attachment, SandboxRequest } from "@longshore/network";
import type { Container, ContainerRecord } from "../containers/container.ts";
import { hasProcess } from "../containers/container-status.ts";
import { newId } from "../containers/names.ts";
import { portRequests } from "../containers/port-bindings.ts";
import type { Engine } from "../engine.ts";
import { dnsSettings, hostEtcTexts, hostNames, writeEtcFiles } from "./etc-files.ts";
import { tellNetworkEvent } from "./network-events.ts";
import { joinedContainer } from "./network-mode.ts";
import type { NetworkRequest } from "./network-request.ts";

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

/**
 * Make the container's network and write its /etc files.
 * @param links lines of /etc/hosts for containers that it has links to
 * @param userNamespace descriptor of the one that its network belongs to; undefined: the host's
 */
export async function joinNetwork(
  engine: Engine,
  record: ContainerRecord,
  {
    plan,
    links,
    userNamespace,
  }: { plan: NetworkPlan | undefined; links: string; userNamespace?: number | undefined },
): Promise<Pick<ContainerRecord, "endpoints" | "ports">> {
  if (plan?.sandboxId === "") return NO_NETWORK; // all of it is the other container's
  if (!plan) {
    writeEtcFiles(engine, record, hostEtcTexts(engine, record));
    return NO_NETWORK;
  }
  const request = {
    ...sandboxRequest(engine, record, plan.sandboxId),
    ...(userNamespace !== undefined && { userNamespace }),
  };
  const sandbox = await engine.metrics
    .timeNetwork("allocate", () => engine.networks.createSandbox(request))
    .catch(failToSetUp);
  writeEtcFiles(engine, record, { ...sandbox, hosts: sandbox.hosts + links });
  for (const endpoint of sandbox.endpoints) tellNetworkEvent(engine, "connect", endpoint, record.id);
  return { endpoints: [...sandbox.endpoints], ports: [...sandbox.ports] };
}

function failToSetUp(error: unknown): never {
  const { code, message } = toEngineError(error);
  throw new EngineError(code, `failed to set up container networking: ${message}`, { cause: error });
}

const NO_NETWORK: Pick<ContainerRecord, "endpoints" | "ports"> = { endpoints: [], ports: [] };

function sandboxRequest(engine: Engine, record: ContainerRecord, sandboxId: string): SandboxRequest {
  const { id, config, hostConfig, networks } = record;
  const [hostname = "", ...aliases] = hostNames(record);
  return {
    ...{ sandboxId, containerId: id, hostname, aliases },
    attachments: config.NetworkDisabled ? [] : networks.map((request) => toAttachment(record, request)),
    ports: portRequests(config, hostConfig),
    dns: dnsSettings(engine, record),
  };
}

/** What others on a network call a container. */
export function dnsNames({ name, id, config }: ContainerRecord, { aliases }: NetworkRequest): string[] {
  return [...new Set([name, ...aliases, id.slice(0, 12), config.Hostname])].filter((one) => one !== "");
}

/** Let others know a container by its new name, on all networks that it is on. */
export async function renameOnNetworks(engine: Engine, { record }: Container): Promise<void> {
  for (const { networkId, networkName: network } of record.endpoints) {
    const request = record.networks.find(({ name }) => name === network);
    if (request) await engine.networks.rename(record.sandboxId, networkId, dnsNames(record, request));
  }
}

/** What a container asks of a network, as the network takes it. */
export function toAttachment(record: ContainerRecord, request: NetworkRequest): Attachment {
  const { name, ipAddress, ip6Address = "", macAddress, gatewayPriority, sysctls, links = [] } = request;
  const { interfaceName, linkLocal } = request;
  return {
    network: name,
    names: dnsNames(record, request),
    ...(ipAddress !== "" && { ipAddress }),
    ...(ip6Address !== "" && { ip6Address }),
    ...(macAddress !== "" && { mac: macAddress }),
    ...(gatewayPriority !== undefined && { gatewayPriority }),
    ...(sysctls && { sysctls }),
    ...(interfaceName !== undefined && { interfaceName }),
    ...(linkLocal && { linkLocal }),
    ...(links.length > 0 && { links: Object.fromEntries(links.map(splitLink)) }),
  };
}

/** `container:alias`, or only the container. */
function splitLink(text: string): [alias: string, target: string] {
  const at = text.indexOf(":");
  return at < 0 ? [text, text] : [text.slice(at + 1), text.slice(0, at)];
}
