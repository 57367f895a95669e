import { EngineError, isErrno } from "@longshore/errors";
import type { RouteSocket } from "@longshore/netlink";
import { isBridge } from "./attached-network.ts";
import { attach, detach } from "./bridge.ts";
import type { BridgePorts } from "./bridge-ports.ts";
import { parseIpv4, subnetOf } from "./ipv4.ts";
import { parseIpv6, subnet6Of } from "./ipv6.ts";
import type { NetnsPool } from "./netns-pool.ts";
import { addLinked } from "./parent-link.ts";
import { interfaceOf, type Placed, routed, routesByLink } from "./placed.ts";
import type { EndpointRecord } from "./records.ts";
import { configureInterface, type Netns, newNetns, type SandboxFiles, setSysctls } from "./sandbox.ts";

interface BuilderParts {
  readonly pool: NetnsPool;
  readonly files: SandboxFiles;
  readonly route: RouteSocket;
  readonly bridgePorts: BridgePorts;
}

/** Makes the kernel's objects of sandboxes. */
export class SandboxBuilder {
  readonly #parts: BuilderParts;

  constructor(parts: BuilderParts) {
    this.#parts = parts;
  }

  /**
   * A sandbox with its interfaces, in one go; on failure nothing is left.
   * @param owner the user namespace that it belongs to; undefined: the host's
   */
  build(sandboxId: string, placed: readonly Placed[], owner?: number): void {
    const { pool, files, route } = this.#parts;
    using netns = owner === undefined ? pool.take() : newNetns(owner);
    try {
      files.pin(netns, sandboxId);
    } catch (error) {
      if (isErrno(error, "EEXIST"))
        throw new EngineError("already_exists", `sandbox ${sandboxId} already exists`, { cause: error });
      throw error;
    }
    using undo = new DisposableStack();
    undo.defer(() => files.unpin(sandboxId));
    for (const one of placed) {
      undo.defer(() => detach(route, one.endpoint.link));
      this.plug(netns, one, {
        takesRoute: one === routed(placed, "ipv4"),
        takesRoute6: one === routed(placed, "ipv6"),
      });
    }
    undo.move();
  }

  /** Make an endpoint's interface in its sandbox. On failure it isn't there. */
  plug(
    netns: Pick<Netns, "fd" | "route">,
    { network, endpoint, sysctls = {}, linkLocal = [] }: Placed,
    { takesRoute, takesRoute6 }: { takesRoute: boolean; takesRoute6: boolean },
  ): void {
    const { route } = this.#parts;
    const { link, mac } = endpoint;
    const name = interfaceOf(endpoint);
    const address = parseIpv4(endpoint.address);
    const ipv4 = address !== undefined && {
      ...{ address, subnet: subnetOf(address, endpoint.prefixLength) },
      gateway: takesRoute ? parseIpv4(endpoint.gateway) : undefined,
    };
    const { ipv6 } = endpoint;
    const address6 = parseIpv6(ipv6?.address ?? "");
    if (isBridge(network)) {
      const pair = { link, mac, mtu: network.mtu, name, netns: netns.fd };
      attach(route, pair, () => this.#parts.bridgePorts.join(network, link));
    } else addLinked(route, network, { name, netns: netns.fd, mac });
    try {
      configureInterface(netns, {
        ...{ name, ...(ipv4 && { ipv4 }) },
        ...{ byLink: routesByLink(network), linkLocal },
        ...(ipv6 &&
          address6 !== undefined && {
            ipv6: {
              ...{ address: address6, subnet: subnet6Of(address6, ipv6.prefixLength) },
              gateway: takesRoute6 ? parseIpv6(ipv6.gateway) : undefined,
            },
          }),
      });
      setSysctls(netns.fd, name, sysctls);
    } catch (error) {
      unplug(route, netns, endpoint);
      throw error;
    }
  }
}

/** Take an endpoint's interface away; none is no error. */
export function unplug(route: RouteSocket, netns: Pick<Netns, "route">, endpoint: EndpointRecord): void {
  if (endpoint.link !== "") detach(route, endpoint.link);
  else detach(netns.route, interfaceOf(endpoint));
}
