import { EngineError } from "@longshore/errors";
import { RouteSocket } from "@longshore/netlink";
import { hasNames } from "./attached-network.ts";
import { forgesLoopback6 } from "./bridge.ts";
import { BridgePorts } from "./bridge-ports.ts";
import { SYSTEM_BUS } from "./dbus.ts";
import { loadNetworks } from "./default-networks.ts";
import { Endpoints } from "./endpoints.ts";
import { Firewall } from "./firewall.ts";
import { Firewalld } from "./firewalld.ts";
import { NameService } from "./name-service.ts";
import { NetnsPool } from "./netns-pool.ts";
import { createNetwork, removeNetwork } from "./network-changes.ts";
import { inspectNetwork, listNetworks } from "./network-list.ts";
import { attachedNetworks, type NetworkState, placedOf } from "./network-state.ts";
import { endpointFacts, resolvConfFor } from "./placed.ts";
import { PublishedPorts } from "./published-ports.ts";
import { raiseNetworks, rebuildFirewall } from "./raise-networks.ts";
import { reconcile, removeAll } from "./reconcile.ts";
import { Relay } from "./relay.ts";
import { SandboxFiles } from "./sandbox.ts";
import { SandboxBuilder } from "./sandbox-builder.ts";
import {
  connectSandbox,
  createSandbox,
  disconnectSandbox,
  releaseSandbox,
  renameEndpoint,
} from "./sandbox-changes.ts";
import { checkPools } from "./subnet-choice.ts";
import type { Networks, NetworksOptions } from "./types.ts";
import { watchFirewall } from "./watch-firewall.ts";

/**
 * Open the networks of an engine, in the network namespace of the calling thread: the bridges, forwarding and the
 * nftables table are there when this resolves. Sandboxes of before are as they were; see `reconcile`.
 *
 * @throws EngineError `invalid_argument` for a bad bridge name or `bip`, `failed_precondition` when a bridge or the
 *   table can't be made
 */
export async function openNetworks(options: NetworksOptions): Promise<Networks> {
  if (!/^[a-zA-Z][\w.-]{0,14}$/.test(options.bridge))
    throw new EngineError("invalid_argument", `invalid bridge name: ${options.bridge}`);
  checkPools(options.addressPools ?? []);
  using undo = new DisposableStack();
  const route = undo.use(new RouteSocket());
  const relay = undo.use(await Relay.open(options.log));
  const firewall = undo.use(new Firewall(options.bridge, relay, options.log));
  const firewalld = undo.use(await Firewalld.open(options.messageBus ?? SYSTEM_BUS, options.log));
  const pool = undo.use(new NetnsPool(options.log));
  const files = new SandboxFiles(options.stateDir);
  const endpoints = await Endpoints.load(options.store);
  const { bridge, host, none, users, linked: stacked, templates: known } = await loadNetworks(options, route);
  const published = undo.use(await PublishedPorts.load(options.store, options.log));
  const bridges = new Map([bridge, ...users].map((network) => [network.name, network]));
  const linked = new Map(stacked.map((network) => [network.name, network]));
  const templates = new Map(known.map((template) => [template.name, template]));
  const bridgePorts = new BridgePorts(route, {
    most: options.portsOfBridge,
    changed: () => rebuildFirewall(state),
  });
  const network = (id: string) =>
    attachedNetworks({ bridges, linked }).find((one) => one.id === id && hasNames(one));
  const names = undo.use(new NameService({ endpoints, network }));
  const builder = new SandboxBuilder({ pool, files, route, bridgePorts });
  const state: NetworkState = {
    ...{ options, route, firewall, firewalld, relay, pool, files, endpoints, published, names, builder },
    ...{ bridges, linked, bridgePorts, templates, host, none },
    forgesLoopback6: forgesLoopback6(),
  };
  raiseNetworks(state);
  undo.use(await watchFirewall(state));
  return engineNetworks(state, undo.move());
}

/** @param owned what is let go of in the end */
function engineNetworks(state: NetworkState, owned: DisposableStack): Networks {
  let changing: Promise<unknown> = Promise.resolve();
  const oneAtATime = <T>(work: () => Promise<T>): Promise<T> => {
    const result = changing.then(work);
    changing = result.catch(() => {});
    return result;
  };
  return {
    list: () => listNetworks(state),
    inspect: (nameOrId) => inspectNetwork(state, nameOrId),
    firewall: () => ({
      isWithFirewalld: state.firewalld?.isAtWork ?? false,
      reloadedAt: state.firewalld?.reloadedAt,
    }),
    addressCounts(id) {
      const found = attachedNetworks(state).find((one) => one.id === id);
      return found ? state.endpoints.addressCounts(found) : new Map();
    },
    create: (request) => oneAtATime(() => createNetwork(state, request)),
    remove: (nameOrId) => oneAtATime(() => removeNetwork(state, nameOrId)),
    createSandbox: (request) => createSandbox(state, request),
    connect: (sandbox, attachment) => connectSandbox(state, sandbox, attachment),
    disconnect: (sandboxId, networkId) => disconnectSandbox(state, sandboxId, networkId),
    rename: (sandboxId, networkId, names) => renameEndpoint(state, sandboxId, networkId, names),
    resolvConf: (sandboxId, dns) => resolvConfFor(placedOf(state, sandboxId), dns),
    sandboxOf: (pid) => state.files.sandboxOf(pid),
    ports: (sandboxId) => state.published.of(sandboxId),
    endpoints: (sandboxId) => placedOf(state, sandboxId).map(endpointFacts),
    releaseSandbox: (sandboxId) => releaseSandbox(state, sandboxId),
    reconcile: (liveSandboxIds) => reconcile(state, liveSandboxIds),
    async close() {
      owned.dispose();
    },
    async uninstall() {
      await removeAll(state);
      owned.dispose();
    },
  };
}
