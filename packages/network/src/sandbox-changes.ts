import { EngineError, toEngineError } from "@longshore/errors";
import { isBridge } from "./attached-network.ts";
import { inspectNetwork } from "./network-list.ts";
import { attachedNetworks, type NetworkState, placedOf, portTargets } from "./network-state.ts";
import {
  checkInterface,
  endpointFacts,
  etcTexts,
  freeInterface,
  interfaceOf,
  lowerCase,
  lowerCaseLinks,
  type Placed,
  portsAt,
  publisher,
  routed,
  wantedAddress,
  wantedAddress6,
} from "./placed.ts";
import { ensureNetworks } from "./raise-networks.ts";
import { takeRoute } from "./repair-sandbox.ts";
import type { DnsSettings } from "./resolv-conf.ts";
import type { PublishedPort } from "./ruleset.ts";
import { unplug } from "./sandbox-builder.ts";
import { serveNames } from "./serve-names.ts";
import type { Attachment, Endpoint, PortBinding, Sandbox, SandboxRequest } from "./types.ts";
import { unplugLinked } from "./unplug-linked.ts";

/** `Networks.createSandbox` */
export async function createSandbox(state: NetworkState, request: SandboxRequest): Promise<Sandbox> {
  const { sandboxId, containerId, attachments } = request;
  if (!/^[\w][\w.-]*$/.test(sandboxId))
    throw new EngineError("invalid_argument", `invalid sandbox id: ${sandboxId}`);
  if (attachments.length > 0) ensureNetworks(state);
  const { published, firewall, endpoints, builder, files } = state;
  const placed: Placed[] = [];
  let ports: readonly PortBinding[] = [];
  try {
    const wanted = attachments.flatMap(({ interfaceName }) => interfaceName ?? []);
    for (const attachment of attachments) {
      const taken = placed.map(({ endpoint }) => interfaceOf(endpoint));
      const name = interfaceFor(attachment, taken, wanted);
      placed.push(await place(state, { sandboxId, containerId, dns: request.dns }, attachment, name));
    }
    if (publisher(placed, "ipv4") ?? publisher(placed, "ipv6"))
      ports = await publishPorts(state, request, placed);
    builder.build(sandboxId, placed, request.userNamespace);
    firewall.changePorts(portTargets(state, sandboxId), "add");
  } catch (error) {
    await published.withdraw(sandboxId);
    await endpoints.remove(placed.map(({ endpoint }) => endpoint));
    throw error;
  }
  await serveNames(state, sandboxId);
  return {
    netnsPath: files.path(sandboxId),
    endpoints: placed.map(endpointFacts),
    ...etcTexts(request, placed),
    ports,
  };
}

/** @throws EngineError in Docker's words, which name the endpoint */
async function publishPorts(
  { published, relay }: NetworkState,
  { sandboxId, containerId, attachments, ports = [] }: SandboxRequest,
  placed: readonly Placed[],
): Promise<readonly PortBinding[]> {
  // A relay carries on nothing but TCP.
  const ipv6 = publisher(placed, "ipv6") ? "all" : relay ? "tcp" : "none";
  try {
    return await published.publish(sandboxId, portsAt(placed, ports), {
      ...{ ipv6, ipv4: publisher(placed, "ipv4") !== undefined },
    });
  } catch (error) {
    const own = publisher(placed, "ipv4") ?? publisher(placed, "ipv6");
    const name = (own && attachments[placed.indexOf(own)]?.names?.[0]) ?? containerId;
    const endpoint = `${name} (${own?.endpoint.endpointId})`;
    const { code, message } = toEngineError(error);
    throw new EngineError(
      code,
      `driver failed programming external connectivity on endpoint ${endpoint}: ${message}`,
      { cause: error },
    );
  }
}

/** `Networks.connect` */
export async function connectSandbox(
  state: NetworkState,
  { sandboxId, containerId, dns }: Pick<SandboxRequest, "sandboxId" | "containerId" | "dns">,
  attachment: Attachment,
): Promise<Endpoint> {
  ensureNetworks(state);
  const { files, builder, endpoints } = state;
  const present = placedOf(state, sandboxId);
  const ports = portTargets(state, sandboxId);
  const taken = present.map(({ endpoint }) => interfaceOf(endpoint));
  const name = interfaceFor(attachment, taken, []);
  const placed = await place(state, { sandboxId, containerId, dns }, attachment, name);
  try {
    const all = [...present, placed];
    const [takesRoute, takesRoute6] = [routed(all, "ipv4") === placed, routed(all, "ipv6") === placed];
    files.within(sandboxId, (netns) => builder.plug(netns, placed, { takesRoute, takesRoute6 }));
  } catch (error) {
    await endpoints.remove([placed.endpoint]);
    throw error;
  }
  await serveNames(state, sandboxId);
  // Ports that led nowhere may have somewhere to lead to now.
  repoint(state, sandboxId, ports);
  return endpointFacts(placed);
}

/** `Networks.disconnect` */
export async function disconnectSandbox(
  state: NetworkState,
  sandboxId: string,
  networkId: string,
): Promise<void> {
  const { route, endpoints, files } = state;
  const present = placedOf(state, sandboxId);
  const gone = present.find(({ network }) => network.id === networkId);
  if (!gone) throw new EngineError("not_found", `sandbox ${sandboxId} is not on network ${networkId}`);
  const ports = portTargets(state, sandboxId);
  files.within(sandboxId, (netns) => unplug(route, netns, gone.endpoint));
  await endpoints.remove([gone.endpoint]);
  repoint(state, sandboxId, ports);
  // Its default routes went with it; other networks of the sandbox's take over.
  const rest = present.filter((one) => one !== gone);
  files.within(sandboxId, (netns) => {
    for (const family of ["ipv4", "ipv6"] as const) {
      const next = routed(present, family) === gone ? routed(rest, family) : undefined;
      if (next) takeRoute(netns, next, family);
    }
  });
  await serveNames(state, sandboxId);
}

/** `Networks.rename` */
export async function renameEndpoint(
  { endpoints }: NetworkState,
  sandboxId: string,
  networkId: string,
  names: readonly string[],
): Promise<void> {
  const endpoint = endpoints.ofSandbox(sandboxId).find((one) => one.networkId === networkId);
  if (endpoint) await endpoints.rename(endpoint, lowerCase(names));
}

/** `Networks.releaseSandbox` */
export async function releaseSandbox(state: NetworkState, sandboxId: string): Promise<void> {
  const { files, endpoints, published, firewall, names } = state;
  // An open socket would keep the namespace.
  names.end(sandboxId);
  if (published.of(sandboxId).length > 0) {
    firewall.changePorts(portTargets(state, sandboxId), "delete");
    await published.withdraw(sandboxId);
  }
  unplugLinked(state, sandboxId);
  // The other interfaces go with the namespace; their names and addresses are not soon used again.
  files.unpin(sandboxId);
  await endpoints.remove(endpoints.ofSandbox(sandboxId));
}

/** Let published ports lead where they belong now. */
function repoint(state: NetworkState, sandboxId: string, before: readonly PublishedPort[]): void {
  const after = portTargets(state, sandboxId);
  const told = (ports: readonly PublishedPort[]) => ports.map(({ address }) => address.join(".")).join();
  if (told(before) !== told(after)) state.firewall.movePorts(before, after);
}

/** @param wanted names that others are to have */
function interfaceFor(
  { interfaceName }: Attachment,
  taken: readonly string[],
  wanted: readonly string[],
): string {
  if (interfaceName !== undefined) return checkInterface(interfaceName, taken);
  return freeInterface([...taken, ...wanted]);
}

async function place(
  state: NetworkState,
  {
    sandboxId,
    containerId,
    dns,
  }: Pick<SandboxRequest, "sandboxId" | "containerId"> & { dns: DnsSettings | undefined },
  attachment: Attachment,
  interfaceName: string,
): Promise<Placed> {
  const {
    network: name,
    ipAddress,
    ip6Address,
    mac,
    gatewayPriority,
    links,
    sysctls = {},
    linkLocal = [],
    names = [],
  } = attachment;
  const facts = inspectNetwork(state, name);
  const network = attachedNetworks(state).find(({ id }) => id === facts.id);
  if (!network)
    throw new EngineError("invalid_argument", `network ${name} of driver ${facts.driver} has no interfaces`);
  const address = ipAddress === undefined ? undefined : wantedAddress(network, ipAddress);
  const address6 = ip6Address === undefined ? undefined : wantedAddress6(network, ip6Address);
  const endpoint = await state.endpoints.create(network, {
    // Interfaces of ipvlan have the MAC address of the one below.
    ...{ mac: network.driver === "ipvlan" ? "" : mac, isLinked: !isBridge(network) },
    ...{ sandboxId, containerId, address, address6, interfaceName, gatewayPriority },
    links: links && lowerCaseLinks(links),
    ...{ names: lowerCase(names), upstreams: dns?.nameservers ?? [] },
  });
  return { network, endpoint, sysctls, linkLocal };
}
