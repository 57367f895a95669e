import { deleteLink } from "@longshore/netlink";
import { detach } from "./bridge.ts";
import { type NetworkState, portTargets } from "./network-state.ts";
import type { EndpointRecord } from "./records.ts";

/** `Networks.reconcile` */
export async function reconcile(state: NetworkState, liveSandboxIds: readonly string[]): Promise<void> {
  const live = new Set(liveSandboxIds);
  const { route, files, endpoints, bridges, published, firewall, indexes } = state;
  const { bridge, log } = state.options;
  const pinned = files.list();
  for (const sandboxId of pinned) if (!live.has(sandboxId)) files.unpin(sandboxId);

  for (const sandboxId of published.sandboxes().filter((id) => !live.has(id))) {
    firewall.changePorts(portTargets(state, sandboxId), "delete");
    await published.withdraw(sandboxId);
  }

  const networkIds = new Set([...bridges.values()].map(({ id }) => id));
  const all = endpoints.all();
  const isLive = ({ sandboxId, networkId }: EndpointRecord) =>
    live.has(sandboxId) && networkIds.has(networkId);
  const dead = all.filter((endpoint) => !isLive(endpoint));
  const kept = new Set(all.filter(isLive).map(({ link }) => link));
  // A process may still be in the namespace of a dead sandbox: its interface must not keep the address in use.
  for (const { link } of dead) detach(route, link);
  const own = new Set(indexes.values());
  for (const { name, kind, master } of route.links())
    if (kind === "veth" && own.has(master ?? 0) && !kept.has(name)) detach(route, name);
  await endpoints.remove(dead);
  for (const sandboxId of live)
    if (!pinned.includes(sandboxId)) log.warn({ sandboxId }, "a live sandbox has no network namespace");
  log.info({ bridge, live: live.size, removed: dead.length }, "networks reconciled");
}

/** `Networks.uninstall`, but for closing. */
export async function removeAll(state: NetworkState): Promise<void> {
  await reconcile(state, []);
  const { route, firewall, bridges } = state;
  const links = [...bridges.values()].map(({ link }) => link);
  firewall.remove(links);
  for (const link of links) if (route.link(link)) route.run(deleteLink(link));
}
