import { EngineError, isErrno } from "@longshore/errors";
import {
  createBridge,
  createVeth,
  deleteLink,
  type Link,
  type RouteSocket,
  setBridgePort,
  setLink,
} from "@longshore/netlink";
import { detach, ensureBridge, passOnly, requireLink } from "./bridge.ts";
import type { BridgeNetwork } from "./bridge-network.ts";

/**
 * The kernel's bridges have 1,023 ports each (`BR_MAX_PORTS`), of which one is kept for the cable to the next bridge. But what is for
 * everybody, such as the question who has an address, is put into a queue of 1,000 once for each port (`net.core.netdev_max_backlog`), and
 * what doesn't fit is lost. With so many ports there is room for what two bridges pass on.
 */
const PORTS_OF_CONTAINERS = 400;

/** More than any subnet of the pools has addresses for. */
const MAX_FURTHER = 99;

interface Bridge {
  readonly name: string;
  readonly index: number;
  /** At most so many ports are taken. */
  taken: number;
}

/**
 * The kernel's bridges of networks, and who has a port where. A network with more containers than a bridge has ports has further bridges,
 * each joined to the one before by a cable: to those on it they are one. Addresses, rules and names are the first one's.
 */
export class BridgePorts {
  readonly #route: RouteSocket;
  /** By network id, in the order of the cables. */
  readonly #bridges = new Map<string, Bridge[]>();
  readonly #most: number;
  readonly #changed: () => void;

  /**
   * @param options.most how many ports of a bridge containers get
   * @param options.changed is called when a network has a further bridge
   */
  constructor(
    route: RouteSocket,
    { most = PORTS_OF_CONTAINERS, changed }: { most?: number | undefined; changed: () => void },
  ) {
    this.#route = route;
    this.#most = most;
    this.#changed = changed;
  }

  /** Names of the bridges that networks, or one of them, have beside their own. */
  further(id?: string): string[] {
    const some = id === undefined ? [...this.#bridges.values()] : [this.#bridges.get(id) ?? []];
    return some.flatMap((bridges) => bridges.slice(1).map(({ name }) => name));
  }

  /** Put a network's bridges in place: the first one, and those further ones that there are. */
  raise(network: BridgeNetwork): void {
    const { id, link: name, mac, withoutIpv4 = false, subnet, gateway, ipv6, mtu } = network;
    const index = ensureBridge(this.#route, {
      name,
      mac,
      withoutIpv4,
      subnet,
      gateway,
      mtu,
      ...(ipv6 && { ipv6 }),
    });
    const bridges: Bridge[] = [{ name, index, taken: 0 }];
    const present = new Set(this.#route.links().map((link) => link.name));
    const isFurther = (number: number) => present.has(namesOf(id, number).bridge);
    // Of those between, somebody may have taken one away.
    const last = Array.from({ length: MAX_FURTHER }, (_, at) => MAX_FURTHER - at).find(isFurther) ?? 0;
    while (bridges.length <= last) this.#extend(network, bridges);
    this.#bridges.set(id, bridges);
    this.#count(bridges);
  }

  /** Whether all of a network's bridges are as they were put in place. */
  isInPlace({ id }: BridgeNetwork): boolean {
    const bridges = this.#bridges.get(id) ?? [];
    return bridges.length > 0 && bridges.every(({ name, index }) => this.#route.link(name)?.index === index);
  }

  /** Give an interface of the host a port. @throws Errno */
  join(network: BridgeNetwork, link: string): void {
    const settings = { hairpin: true, isolated: !network.icc };
    const bridges = this.#of(network);
    const bridge = bridges.find(({ taken }) => taken < this.#most) ?? this.#recounted(network, bridges);
    try {
      this.#route.run(setLink({ name: link }, { up: true, master: bridge.index, ipv6Addresses: false }));
    } catch (error) {
      if (!isErrno(error, "EXFULL")) throw error;
      // Others have ports of it as well.
      bridge.taken = this.#most;
      this.join(network, link);
      return;
    }
    bridge.taken++;
    // Without hairpin a container would not reach itself by a port that it has published.
    this.#route.run(setBridgePort(requireLink(this.#route, link).index, settings));
  }

  /** Put interfaces that have come off their bridges back on one, if they still exist. */
  rejoin(network: BridgeNetwork, names: ReadonlySet<string>, links: readonly Link[]): void {
    const own = new Set(this.#of(network).map(({ index }) => index));
    for (const { name, master } of links) {
      if (!names.has(name) || own.has(master ?? 0)) continue;
      try {
        this.join(network, name);
      } catch (error) {
        // The kernel may be taking the interface away at this moment, with its other end.
        if (!isErrno(error, "ENODEV")) throw error;
      }
    }
  }

  /** Interfaces that have ports of networks' bridges, but for the cables between those. */
  plugged(links: readonly Link[]): Link[] {
    const bridges = new Set([...this.#bridges.values()].flat().map(({ index }) => index));
    const cables = new Set(
      [...this.#bridges].flatMap(([id, list]) =>
        list.flatMap((_, number) => [namesOf(id, number).near, namesOf(id, number).far]),
      ),
    );
    return links.filter(({ name, master }) => bridges.has(master ?? 0) && !cables.has(name));
  }

  /** Take a network's bridges away. */
  remove({ id, link }: BridgeNetwork): void {
    const bridges = this.#bridges.get(id) ?? [];
    this.#bridges.delete(id);
    for (const number of bridges.keys()) {
      if (number === 0) continue;
      const { near, bridge } = namesOf(id, number);
      for (const name of [near, bridge]) detach(this.#route, name);
    }
    if (this.#route.link(link)) this.#route.run(deleteLink(link));
  }

  #of({ id, name }: BridgeNetwork): Bridge[] {
    const bridges = this.#bridges.get(id);
    if (!bridges) throw new Error(`network ${name} has no bridge`);
    return bridges;
  }

  /** A bridge that has room after all, or else a further one. */
  #recounted(network: BridgeNetwork, bridges: Bridge[]): Bridge {
    this.#count(bridges);
    const found = bridges.find(({ taken }) => taken < this.#most);
    if (found) return found;
    const added = this.#extend(network, bridges);
    this.#changed();
    return added;
  }

  /** One more bridge, as it is found or new. */
  #extend(network: BridgeNetwork, bridges: Bridge[]): Bridge {
    if (bridges.length > MAX_FURTHER)
      throw new EngineError("resource_exhausted", `network ${network.name} has no room for more containers`);
    const { bridge: name } = namesOf(network.id, bridges.length);
    if (!this.#route.link(name)) this.#route.run(createBridge({ name, mtu: network.mtu }));
    // One is the cable's.
    const added = { name, index: requireLink(this.#route, name).index, taken: 1 };
    bridges.push(added);
    this.#cable(network, bridges);
    return added;
  }

  #count(bridges: readonly Bridge[]): void {
    const counts = new Map<number, number>();
    for (const { master } of this.#route.links())
      if (master !== undefined) counts.set(master, (counts.get(master) ?? 0) + 1);
    for (const bridge of bridges) bridge.taken = counts.get(bridge.index) ?? 0;
  }

  /** Join the last of the bridges to the one before. Who may reach nobody but the host must not reach them by it either. */
  #cable({ id, icc, mtu }: BridgeNetwork, bridges: readonly Bridge[]): void {
    const [before, last] = bridges.slice(-2);
    if (!before || !last) return;
    const { near, far } = namesOf(id, bridges.length - 1);
    passOnly(last.name);
    if (!this.#route.link(near)) this.#route.run(createVeth({ name: near, mtu, peer: { name: far } }));
    const plug = (name: string, bridge: Bridge, isolated: boolean) => {
      // Once it is up it would have an address.
      this.#route.run(setLink({ name }, { ipv6Addresses: false }));
      this.#route.run(setLink({ name }, { up: true, master: bridge.index }));
      const { index } = requireLink(this.#route, name);
      this.#route.run(setBridgePort(index, { hairpin: false, isolated }));
    };
    plug(near, before, !icc);
    plug(far, last, false);
    this.#route.run(setLink({ index: last.index }, { up: true }));
  }
}

/** Names of a network's further bridge and of both ends of its cable; found by them after a restart. */
function namesOf(id: string, number: number): { bridge: string; near: string; far: string } {
  const name = (kind: string) => `${kind}${number}-${id}`.slice(0, 15);
  return { bridge: name("b"), near: name("c"), far: name("d") };
}
