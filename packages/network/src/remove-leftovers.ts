import { deleteLink, NftablesSocket, type NftTable, RouteSocket } from "@longshore/netlink";
import { BRIDGES_SET } from "./arrivals.ts";
import { Firewall } from "./firewall.ts";
import { FURTHER_BRIDGES_SET } from "./ruleset.ts";
import { SandboxFiles } from "./sandbox.ts";
import type { NetworksOptions } from "./types.ts";

/**
 * Take away what an engine's networks keep in the kernel when its records are lost: the sandboxes of its state directory, the bridges that
 * its table of nftables names with all that is on them, and the table.
 */
export function removeLeftovers({
  stateDir,
  bridge,
  log,
}: Pick<NetworksOptions, "stateDir" | "bridge" | "log">): void {
  using nft = new NftablesSocket();
  using route = new RouteSocket();
  using firewall = new Firewall(bridge, undefined, log);
  const table: NftTable = { family: "inet", name: bridge };
  const named = [BRIDGES_SET, FURTHER_BRIDGES_SET].flatMap((set) => nft.setLinks(table, set));
  const own = new Set([bridge, ...named]);
  const files = new SandboxFiles(stateDir);
  for (const sandboxId of files.list()) files.unpin(sandboxId);
  firewall.remove([...own]);
  const bridges = route.links().filter(({ name, kind }) => kind === "bridge" && own.has(name));
  const ports = route.links().filter(({ master }) => bridges.some(({ index }) => index === master));
  // An interface may go with its other end.
  for (const { name } of [...ports, ...bridges]) if (route.link(name)) route.run(deleteLink(name));
  log.info({ bridges: bridges.map(({ name }) => name) }, "removed the networks of an engine without records");
}
