import { EngineError } from "@longshore/errors";
import { detach } from "./bridge.ts";
import { inspectNetwork } from "./network-list.ts";
import { bridgeNamed, type NetworkState, placedOf, portTargets } from "./network-state.ts";
import {
  endpointFacts,
  etcTexts,
  freeInterface,
  interfaceOf,
  lowerCase,
  type Placed,
  portsAt,
  wantedAddress,
} from "./placed.ts";
import { ensureNetworks } from "./raise-networks.ts";
import type { DnsSettings } from "./resolv-conf.ts";
import { routeBy } from "./sandbox.ts";
import { redirectNames } from "./serve-names.ts";
import type { Attachment, Endpoint, PortBinding, Sandbox, SandboxRequest } from "./types.ts";

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
    for (const [position, attachment] of attachments.entries())
      placed.push(
        await place(state, { sandboxId, containerId, dns: request.dns }, attachment, `eth${position}`),
      );
    if (placed.some(({ network }) => !network.internal))
      ports = await published.publish(sandboxId, portsAt(placed, request.ports ?? []));
    builder.build(sandboxId, placed, (netns) => redirectNames(state, netns, placed));
    firewall.changePorts(portTargets(state, sandboxId), "add");
  } catch (error) {
    await published.withdraw(sandboxId);
    await endpoints.remove(placed.map(({ endpoint }) => endpoint));
    throw error;
  }
  return {
    netnsPath: files.path(sandboxId),
    endpoints: placed.map(endpointFacts),
    ...etcTexts(request, placed),
    ports,
  };
}

/** `Networks.connect` */
export async function connectSandbox(
  state: NetworkState,
  { sandboxId, containerId, dns }: Pick<SandboxRequest, "sandboxId" | "containerId" | "dns">,
  attachment: Attachment,
): Promise<Endpoint> {
  ensureNetworks(state);
  const { files, builder, endpoints, firewall } = state;
  const present = placedOf(state, sandboxId);
  const placed = await place(state, { sandboxId, containerId, dns }, attachment, freeInterface(present));
  try {
    const takesRoute = !placed.network.internal && present.every(({ network }) => network.internal);
    files.within(sandboxId, (netns) => {
      builder.plug(netns, placed, takesRoute);
      redirectNames(state, netns.fd, [...present, placed]);
    });
  } catch (error) {
    await endpoints.remove([placed.endpoint]);
    throw error;
  }
  // Ports that led nowhere may have somewhere to lead to now.
  if (present.every(({ network }) => network.internal))
    firewall.changePorts(portTargets(state, sandboxId), "add");
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
  await repointing(state, sandboxId, async () => {
    detach(route, gone.endpoint.link);
    await endpoints.remove([gone.endpoint]);
  });
  // Its default route went with it; another network of the sandbox's takes over.
  const rest = present.filter((one) => one !== gone && !one.network.internal);
  const routed = present.find(({ network }) => !network.internal);
  const [next] = rest;
  files.within(sandboxId, (netns) => {
    if (routed === gone && next) routeBy(netns.route, interfaceOf(next.endpoint), next.network.gateway);
    redirectNames(
      state,
      netns.fd,
      present.filter((one) => one !== gone),
    );
  });
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
  const { files, endpoints, published, firewall } = state;
  if (published.of(sandboxId).length > 0) {
    firewall.changePorts(portTargets(state, sandboxId), "delete");
    await published.withdraw(sandboxId);
  }
  // The interfaces go with the namespace; their names and addresses are not soon used again.
  files.unpin(sandboxId);
  await endpoints.remove(endpoints.ofSandbox(sandboxId));
}

/** Do what may change where ports lead, and let them lead there. */
async function repointing(
  state: NetworkState,
  sandboxId: string,
  change: () => Promise<void>,
): Promise<void> {
  const before = portTargets(state, sandboxId);
  await change();
  const after = portTargets(state, sandboxId);
  if (before[0]?.address === after[0]?.address) return;
  state.firewall.changePorts(before, "delete");
  state.firewall.changePorts(after, "add");
}

async function place(
  state: NetworkState,
  {
    sandboxId,
    containerId,
    dns,
  }: Pick<SandboxRequest, "sandboxId" | "containerId"> & { dns: DnsSettings | undefined },
  { network: name, ipAddress, mac, names = [] }: Attachment,
  interfaceName: string,
): Promise<Placed> {
  const facts = inspectNetwork(state, name);
  if (facts.driver !== "bridge")
    throw new EngineError("invalid_argument", `network ${name} of driver ${facts.driver} has no interfaces`);
  const network = bridgeNamed(state, facts.name);
  const address = ipAddress === undefined ? undefined : wantedAddress(network, ipAddress);
  const endpoint = await state.endpoints.create(network, {
    ...{ sandboxId, containerId, mac, address, interfaceName },
    ...{ names: lowerCase(names), upstreams: dns?.nameservers ?? [] },
  });
  return { network, endpoint };
}
