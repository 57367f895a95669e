import { EngineError } from "@longshore/errors";
import { newMac } from "./bridge.ts";
import { type BridgeNetwork, bridgeNetwork } from "./bridge-network.ts";
import { PREDEFINED, subnets6InUse, subnetsInUse } from "./default-networks.ts";
import type { Subnet } from "./ipv4.ts";
import { createLinked, forgetLinked } from "./linked-changes.ts";
import { networkFacts } from "./network-facts.ts";
import { inspectNetwork } from "./network-list.ts";
import { attachedNetworks, bridgeNamed, type NetworkState, subnets6Of } from "./network-state.ts";
import { rebuildFirewall } from "./raise-networks.ts";
import { networkRecords } from "./records.ts";
import { countFree } from "./subnet-choice.ts";
import { fromTemplate, planTemplate, templateFacts, templateNetwork } from "./template-network.ts";
import type { CreateNetwork, NetworkFacts } from "./types.ts";
import { checkName, planNetwork } from "./user-networks.ts";

/** With fewer subnets left than this, it is time to say so. */
const FEW_POOLS = 4;

/** `Networks.create`; one at a time, as two in the making must not choose the same subnet. */
export async function createNetwork(state: NetworkState, asked: CreateNetwork): Promise<NetworkFacts> {
  const { route, bridges, linked, templates, options } = state;
  const { name } = asked;
  if (bridges.has(name) || linked.has(name) || templates.has(name) || PREDEFINED.includes(name))
    throw new EngineError("conflict", `network with name ${name} already exists`);
  checkName(name);
  if (asked.configOnly) return createTemplate(state, asked);
  const request = fromTemplate(asked, templates);
  if (request.driver !== undefined && request.driver !== "bridge")
    return createLinked(state, request, request.driver);
  const own = [...bridges.values()];
  const inUse = {
    ipv4: [
      ...subnetsInUse(route),
      ...attachedNetworks(state).flatMap(({ subnet, further = [] }) => [
        ...[subnet, ...further.map((one) => one.subnet)],
      ]),
    ],
    ipv6: [...subnets6InUse(route), ...attachedNetworks(state).flatMap(subnets6Of)],
  };
  const record = planNetwork(request, inUse, newMac(), options.addressPools);
  const network = bridgeNetwork(name, record, { link: "", options: {} });
  if (route.link(network.link) || own.some(({ link }) => link === network.link)) {
    throw new EngineError(
      "permission_denied",
      `cannot create network ${network.id} (${network.link}): conflicts with an existing interface`,
    );
  }
  const { networks } = networkRecords(options.store);
  // Recorded first: what a daemon that is killed here has made is found by its record.
  await options.store.commit([networks.put(name, record)], [networks.absent(name)]);
  bridges.set(name, network);
  try {
    state.bridgePorts.raise(network);
    rebuildFirewall(state);
  } catch (error) {
    await forgetNetwork(state, network);
    throw error;
  }
  if (request.ipam.subnet === "" && !request.withoutIpv4)
    warnOfLastPools(state, [...inUse.ipv4, network.subnet]);
  return networkFacts(network, []);
}

async function createTemplate(
  { options, templates }: NetworkState,
  request: CreateNetwork,
): Promise<NetworkFacts> {
  const { name } = request;
  const record = planTemplate(request);
  const { networks } = networkRecords(options.store);
  await options.store.commit([networks.put(name, record)], [networks.absent(name)]);
  const template = templateNetwork(name, record);
  if (!template) throw new Error(`${name} is no configuration`);
  templates.set(name, template);
  return templateFacts(template);
}

/** Who makes networks is to hear in time that there will soon be no addresses for more. */
function warnOfLastPools({ options }: NetworkState, inUse: readonly Subnet[]): void {
  const left = countFree(inUse, options.addressPools ?? [], FEW_POOLS);
  if (left < FEW_POOLS) options.log.warn({ left }, "the default address pools are nearly used up");
}

/** `Networks.remove` */
export async function removeNetwork(state: NetworkState, nameOrId: string): Promise<NetworkFacts> {
  const facts = inspectNetwork(state, nameOrId);
  if (PREDEFINED.includes(facts.name)) {
    throw new EngineError(
      "permission_denied",
      `${facts.name} is a pre-defined network and cannot be removed`,
    );
  }
  if (facts.configOnly) {
    await removeTemplate(state, facts.name);
    return facts;
  }
  if (state.endpoints.ofNetwork(facts.id).length > 0) {
    throw new EngineError(
      "permission_denied",
      `error while removing network: network ${facts.name} id ${facts.id} has active endpoints`,
    );
  }
  const stacked = state.linked.get(facts.name);
  if (stacked) await forgetLinked(state, stacked);
  else await forgetNetwork(state, bridgeNamed(state, facts.name));
  return facts;
}

async function removeTemplate(state: NetworkState, name: string): Promise<void> {
  const { templates, bridges, options } = state;
  if ([...bridges.values()].some(({ configFrom }) => configFrom === name)) {
    throw new EngineError(
      "permission_denied",
      `error while removing network: configuration network ${JSON.stringify(name)} is in use`,
    );
  }
  await options.store.commit([networkRecords(options.store).networks.delete(name)]);
  templates.delete(name);
}

/** Take a network away: the firewall's part first, its record last. */
async function forgetNetwork(state: NetworkState, network: BridgeNetwork): Promise<void> {
  const { bridges, endpoints, options, firewall, bridgePorts } = state;
  const { networks } = networkRecords(options.store);
  bridges.delete(network.name);
  rebuildFirewall(state);
  for (const link of [network.link, ...bridgePorts.further(network.id)]) firewall.withdraw(link);
  endpoints.forget(network.id);
  bridgePorts.remove(network);
  await options.store.commit([networks.delete(network.name)]);
}
