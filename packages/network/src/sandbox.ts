import fs from "node:fs";
import path from "node:path";
import { EngineError, isErrno } from "@longshore/errors";
import { addAddress, addDefaultRoute, RouteSocket, setLink } from "@longshore/netlink";
import { requireLink } from "./bridge.ts";
import { broadcastOf, type Ipv4, ipv4Bytes, type Subnet } from "./ipv4.ts";
import { createNetns, inNetns, pinNetns, unpinNetns } from "./netns.ts";

/** A network namespace in the making; disposing of it lets it go, unless it was pinned. */
export interface Netns extends Disposable {
  readonly fd: number;
  /** Bound to the namespace. */
  readonly route: RouteSocket;
}

/** A network namespace with lo up. Interfaces that are added get no IPv6, lo has `::1`, as with Docker. */
export function newNetns(): Netns {
  using undo = new DisposableStack();
  const { fd, route } = createNetns((fd) => {
    undo.defer(() => fs.closeSync(fd));
    const disableIpv6 = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
    if (fs.existsSync(disableIpv6)) fs.writeFileSync(disableIpv6, "1");
    return { fd, route: undo.use(new RouteSocket()) };
  });
  route.run(setLink({ name: "lo" }, { up: true }));
  const owned = undo.move();
  return { fd, route, [Symbol.dispose]: () => owned.dispose() };
}

/**
 * Give the inner end of an attachment its address, and the default route if it is to have that.
 * @param options.gateway the router of the default route
 */
export function configureInterface(
  route: RouteSocket,
  options: { name: string; address: Ipv4; subnet: Subnet; gateway?: Ipv4 | undefined },
): void {
  const { name, address, subnet, gateway } = options;
  const { index } = requireLink(route, name);
  route.run(
    setLink({ index }, { up: true }),
    addAddress({
      index,
      address: ipv4Bytes(address),
      prefixLength: subnet.prefixLength,
      broadcast: ipv4Bytes(broadcastOf(subnet)),
    }),
    ...(gateway === undefined ? [] : [addDefaultRoute(index, ipv4Bytes(gateway))]),
  );
}

/** Send what is for elsewhere by this interface. */
export function routeBy(route: RouteSocket, name: string, gateway: Ipv4): void {
  route.run(addDefaultRoute(requireLink(route, name).index, ipv4Bytes(gateway)));
}

/** The files by which sandboxes live on, `<state directory>/netns/<sandbox id>`. */
export class SandboxFiles {
  readonly #directory: string;

  constructor(stateDir: string) {
    this.#directory = path.join(stateDir, "netns");
    fs.mkdirSync(this.#directory, { recursive: true, mode: 0o755 });
  }

  path(sandboxId: string): string {
    return path.join(this.#directory, sandboxId);
  }

  pin(netns: Netns, sandboxId: string): void {
    pinNetns(netns.fd, this.path(sandboxId));
  }

  /** The namespace goes with its last process; the kernel takes its interfaces apart in the background. */
  unpin(sandboxId: string): void {
    unpinNetns(this.path(sandboxId));
  }

  /** Do something with the routes of a sandbox that there is. @throws EngineError `not_found` */
  within<T>(sandboxId: string, work: (netns: Pick<Netns, "fd" | "route">) => T): T {
    let fd: number;
    try {
      fd = fs.openSync(this.path(sandboxId), "r");
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error;
      throw new EngineError("not_found", `sandbox ${sandboxId} not found`, { cause: error });
    }
    try {
      using route = inNetns(fd, () => new RouteSocket());
      return work({ fd, route });
    } finally {
      fs.closeSync(fd);
    }
  }

  list(): string[] {
    return fs.readdirSync(this.#directory);
  }
}
