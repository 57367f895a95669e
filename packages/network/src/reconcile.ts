import { detach } from "./bridge.ts";
import { attachedNetworks, type NetworkState, portTargets } from "./network-state.ts";
import { removeParent } from "./parent-link.ts";
import type { EndpointRecord } from "./records.ts";
import { repairSandbox } from "./repair-sandbox.ts";
import { unplugLinked } from "./unplug-linked.ts";

/** `Networks.reconcile` */
export async function reconcile(state: NetworkState, liveSandboxIds: readonly string[]): Promise<void> {
  const live = new Set(liveSandboxIds);
  const { route, files, endpoints, published, firewall, bridgePorts } = state;
  const { bridge, log } = state.options;
  const pinned = files.list();
  for (const sandboxId of pinned.filter((id) => !live.has(id))) {
    unplugLinked(state, sandboxId);
    files.unpin(sandboxId);
  }

  for (const sandboxId of published.sandboxes().filter((id) => !live.has(id))) {
    firewall.changePorts(portTargets(state, sandboxId), "delete");
    await published.withdraw(sandboxId);
  }

  const networkIds = new Set(attachedNetworks(state).map(({ id }) => id));
  const all = endpoints.all();
  const isLive = ({ sandboxId, networkId }: EndpointRecord) =>
    live.has(sandboxId) && networkIds.has(networkId);
  const dead = all.filter((endpoint) => !isLive(endpoint));
  const kept = new Set(all.filter(isLive).map(({ link }) => link));
  // A process may still be in the namespace of a dead sandbox: its interface must not keep the address in use.
  for (const { link } of dead) detach(route, link);
  for (const { name, kind } of bridgePorts.plugged(route.links()))
    if (kind === "veth" && !kept.has(name)) detach(route, name);
  await endpoints.remove(dead);
  for (const sandboxId of live)
    if (!pinned.includes(sandboxId)) log.warn({ sandboxId }, "a live sandbox has no network namespace");
  const links = new Map(route.links().map((link) => [link.name, link]));
  for (const sandboxId of pinned.filter((id) => live.has(id))) await repairSandbox(state, sandboxId, links);
  log.info({ bridge, live: live.size, removed: dead.length }, "networks reconciled");
}

/** `Networks.uninstall`, but for closing. */
export async function removeAll(state: NetworkState): Promise<void> {
  await reconcile(state, []);
  const { route, firewall, bridges, bridgePorts, linked } = state;
  state.firewalld?.trust([]);
  await state.firewalld?.settled();
  for (const network of linked.values()) removeParent(route, network);
  firewall.remove([...[...bridges.values()].map(({ link }) => link), ...bridgePorts.further()]);
  for (const network of bridges.values()) bridgePorts.remove(network);
}
