import fs from "node:fs";
import path from "node:path";
import { EngineError, isErrno } from "@longshore/errors";
import { addAddress, addDefaultRoute, RouteSocket, setLink } from "@longshore/netlink";
import { requireLink } from "./bridge.ts";
import { broadcastOf, type Ipv4, ipv4Bytes, parseIpv4, type Subnet } from "./ipv4.ts";
import { type Ipv6, ipv6Bytes, parseIpv6, type Subnet6 } from "./ipv6.ts";
import { createNetns, inNetns, pinNetns, unpinNetns } from "./netns.ts";

/** As Docker has it: 169.254.0.0/16, fe80::/64. */
const LINK_LOCAL_BITS = 16;
const LINK_LOCAL6_BITS = 64;

/** A network namespace in the making; disposing of it lets it go, unless it was pinned. */
export interface Netns extends Disposable {
  readonly fd: number;
  /** Bound to the namespace. */
  readonly route: RouteSocket;
}

/**
 * A network namespace with lo up. Interfaces that are added get no IPv6, lo has `::1`, as with Docker.
 * @param owner the user namespace that it belongs to; undefined: the host's
 */
export function newNetns(owner?: number): Netns {
  using undo = new DisposableStack();
  const { fd, route } = createNetns((fd) => {
    undo.defer(() => fs.closeSync(fd));
    const disableIpv6 = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
    if (fs.existsSync(disableIpv6)) fs.writeFileSync(disableIpv6, "1");
    return { fd, route: undo.use(new RouteSocket()) };
  }, owner);
  route.run(setLink({ name: "lo" }, { up: true }));
  const owned = undo.move();
  return { fd, route, [Symbol.dispose]: () => owned.dispose() };
}

/** What the inner end of an attachment is to be, of either family; `gateway` is the router of a default route, if it is to have that. */
export interface InterfaceSettings {
  readonly name: string;
  readonly ipv4?: { readonly address: Ipv4; readonly subnet: Subnet; readonly gateway?: Ipv4 | undefined };
  /** The default route goes to no router, but to the link. */
  readonly byLink?: boolean;
  /** Further addresses, of the link only. */
  readonly linkLocal?: readonly string[];
  readonly ipv6?:
    | { readonly address: Ipv6; readonly subnet: Subnet6; readonly gateway?: Ipv6 | undefined }
    | undefined;
}

/** Give the inner end of an attachment its addresses and default routes. */
export function configureInterface(
  { route, fd }: Pick<Netns, "fd" | "route">,
  { name, ipv4, byLink = false, linkLocal = [], ipv6 }: InterfaceSettings,
): void {
  const { index } = requireLink(route, name);
  const linkLocal6 = linkLocal.flatMap((text) => parseIpv6(text) ?? []);
  if (ipv6 || linkLocal6.length > 0) inNetns(fd, () => allowIpv6(name));
  route.run(
    setLink({ index }, { up: true }),
    ...(ipv4 ? [ownAddress(index, ipv4)] : []),
    ...(ipv4?.gateway === undefined
      ? []
      : [addDefaultRoute(index, byLink ? undefined : ipv4Bytes(ipv4.gateway))]),
    ...linkLocal
      .flatMap((text) => parseIpv4(text) ?? [])
      .map((local) => addAddress({ index, address: ipv4Bytes(local), prefixLength: LINK_LOCAL_BITS })),
    ...linkLocal6.map((local) =>
      addAddress({ index, address: ipv6Bytes(local), prefixLength: LINK_LOCAL6_BITS }),
    ),
  );
  if (!ipv6) return;
  const { prefixLength } = ipv6.subnet;
  route.run(addAddress({ index, address: ipv6Bytes(ipv6.address), prefixLength }));
  if (ipv6.gateway !== undefined)
    route.run(addDefaultRoute(index, byLink ? undefined : ipv6Bytes(ipv6.gateway), "ipv6"));
}

function ownAddress(index: number, { address, subnet }: NonNullable<InterfaceSettings["ipv4"]>) {
  const broadcast = ipv4Bytes(broadcastOf(subnet));
  return addAddress({ index, address: ipv4Bytes(address), prefixLength: subnet.prefixLength, broadcast });
}

/** In the thread's network namespace. Routes are for the engine to give, not for whoever calls itself a router. */
function allowIpv6(name: string): void {
  const directory = `/proc/sys/net/ipv6/conf/${name}`;
  if (!fs.existsSync(directory))
    throw new EngineError("failed_precondition", "this kernel has no IPv6, which the network has");
  fs.writeFileSync(`${directory}/accept_ra`, "0");
  fs.writeFileSync(`${directory}/accept_dad`, "0");
  fs.writeFileSync(`${directory}/disable_ipv6`, "0");
}

/**
 * Settings of the kernel for an interface, in a namespace.
 * @param sysctls `net.ipv4.conf.IFNAME.log_martians` by value
 * @throws EngineError `invalid_argument` for what the kernel doesn't have, or doesn't take
 */
export function setSysctls(netns: number, name: string, sysctls: Readonly<Record<string, string>>): void {
  const entries = Object.entries(sysctls);
  if (entries.length === 0) return;
  inNetns(netns, () => {
    for (const [key, value] of entries) {
      const file = key.split(".").map((part) => (part.toUpperCase() === "IFNAME" ? name : part));
      try {
        fs.writeFileSync(path.join("/proc/sys", ...file), value, { flag: "r+" });
      } catch (cause) {
        const why = cause instanceof Error ? cause.message : String(cause);
        throw new EngineError("invalid_argument", `sysctl ${key}=${value}: ${why}`, { cause });
      }
    }
  });
}

/** Send what is for elsewhere by this interface, to a router or simply to the link. */
export function routeBy(
  route: RouteSocket,
  name: string,
  gateway: Uint8Array | undefined,
  family: "ipv4" | "ipv6",
): void {
  route.run(addDefaultRoute(requireLink(route, name).index, gateway, family));
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

  /** Undefined for a process that is in none of them, or is gone. */
  sandboxOf(pid: number): string | undefined {
    const own = statOf(`/proc/${pid}/ns/net`);
    return own && this.list().find((id) => statOf(this.path(id))?.ino === own.ino);
  }

  list(): string[] {
    return fs.readdirSync(this.#directory);
  }
}

function statOf(file: string): fs.Stats | undefined {
  try {
    return fs.statSync(file);
  } catch (error) {
    if (!isErrno(error, "ENOENT", "ESRCH")) throw error;
    return undefined;
  }
}
