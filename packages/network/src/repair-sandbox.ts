import type { Link } from "@longshore/netlink";
import { ipv4Bytes, parseIpv4 } from "./ipv4.ts";
import { ipv6Bytes, parseIpv6 } from "./ipv6.ts";
import { type NetworkState, placedOf } from "./network-state.ts";
import { interfaceOf, type Placed, routed, routesByLink } from "./placed.ts";
import { type Netns, routeBy } from "./sandbox.ts";
import { unplug } from "./sandbox-builder.ts";
import { serveNames } from "./serve-names.ts";

/**
 * Finish what a daemon that was killed had begun with a sandbox that lives: endpoints without a whole interface go, its default routes and
 * its resolver are as its networks say.
 *
 * @param links interfaces of the host
 */
export async function repairSandbox(
  state: NetworkState,
  sandboxId: string,
  links: ReadonlyMap<string, Link>,
): Promise<void> {
  const { route, files, endpoints, options } = state;
  try {
    const { gone, rest } = files.within(sandboxId, (netns) => {
      const addresses = netns.route.addresses();
      // A half-made one is down and has no address yet. What its own processes have done to it is their business.
      const isWhole = ({ endpoint }: Placed) => {
        const inner = netns.route.link(interfaceOf(endpoint));
        if (!inner || (endpoint.link !== "" && !links.has(endpoint.link))) return false;
        return inner.up || addresses.some(({ index }) => index === inner.index);
      };
      const placed = placedOf(state, sandboxId);
      const rest = placed.filter(isWhole);
      for (const { endpoint } of placed)
        if (!rest.some((one) => one.endpoint === endpoint)) unplug(route, netns, endpoint);
      replaceRoutes(netns, rest);
      return { gone: placed.filter((one) => !rest.includes(one)), rest };
    });
    await endpoints.remove(gone.map(({ endpoint }) => endpoint));
    if (gone.length > 0)
      options.log.warn(
        { sandboxId, networks: rest.length },
        "a network that was half connected is taken off",
      );
    await serveNames(state, sandboxId);
  } catch (error) {
    options.log.warn({ sandboxId, err: error }, "a live sandbox could not be looked at");
  }
}

/** Default routes where there are none; others may have given it some of their own. */
function replaceRoutes(netns: Pick<Netns, "route">, placed: readonly Placed[]): void {
  const defaults = netns.route.routes().filter(({ destination }) => destination.byteLength === 0);
  for (const family of ["ipv4", "ipv6"] as const) {
    const owner = routed(placed, family);
    if (owner && !defaults.some((route) => route.family === family)) takeRoute(netns, owner, family);
  }
}

/** Let what is for elsewhere go by one of a sandbox's networks. */
export function takeRoute(
  netns: Pick<Netns, "route">,
  { network, endpoint }: Placed,
  family: "ipv4" | "ipv6",
): void {
  const router = family === "ipv4" ? parseIpv4(endpoint.gateway) : parseIpv6(endpoint.ipv6?.gateway ?? "");
  if (router === undefined) return;
  const bytes = typeof router === "number" ? ipv4Bytes(router) : ipv6Bytes(router);
  routeBy(netns.route, interfaceOf(endpoint), routesByLink(network) ? undefined : bytes, family);
}
