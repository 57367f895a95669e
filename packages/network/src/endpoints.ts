import { randomBytes } from "node:crypto";
import { EngineError } from "@longshore/errors";
import type { Store } from "@longshore/store";
import { AddressPool } from "./address-pool.ts";
import { macOf, newMac } from "./bridge.ts";
import { EndpointIndex } from "./endpoint-index.ts";
import { newId } from "./ids.ts";
import { contains, formatIpv4, formatSubnet, type Ipv4, parseIpv4, type Subnet } from "./ipv4.ts";
import { contains6, formatIpv6, formatSubnet6, type Ipv6, parseIpv6, type Subnet6 } from "./ipv6.ts";
import { Ipv6Pool } from "./ipv6-pool.ts";
import { type EndpointRecord, endpointKey, networkRecords } from "./records.ts";
import type { AddressCount } from "./types.ts";

/** The network that endpoints are made in. */
export interface EndpointNetwork {
  readonly id: string;
  readonly name: string;
  /** It has IPv6 only; `subnet` and `gateway` mean nothing then. */
  readonly withoutIpv4?: boolean;
  readonly subnet: Subnet;
  readonly gateway: Ipv4;
  /** Where its containers send what is for elsewhere, if that isn't the gateway. */
  readonly router?: Ipv4;
  /** Where addresses come from that nobody asked for. */
  readonly ipRange?: Subnet;
  /** Addresses of the subnet that others use. */
  readonly reserved?: readonly Ipv4[];
  /** Addresses come from these when the one before has none left, or when somebody names one of theirs. */
  readonly further?: readonly FurtherSubnet[];
  readonly ipv6?: EndpointNetwork6;
}

/** A further subnet. */
export interface FurtherSubnet {
  readonly subnet: Subnet;
  readonly gateway: Ipv4;
  readonly ipRange?: Subnet;
}

/** The same of IPv6. */
export interface FurtherSubnet6 {
  readonly subnet: Subnet6;
  readonly gateway: Ipv6;
  readonly ipRange?: Subnet6;
}

/** Its addresses of IPv6. */
export interface EndpointNetwork6 {
  readonly subnet: Subnet6;
  readonly gateway: Ipv6;
  readonly router?: Ipv6;
  readonly ipRange?: Subnet6;
  readonly reserved: readonly Ipv6[];
  readonly further?: readonly FurtherSubnet6[];
}

export interface EndpointRequest {
  readonly sandboxId: string;
  readonly containerId: string;
  readonly mac?: string | undefined;
  /** An address of the network's; the next free one when left out. */
  readonly address?: Ipv4 | undefined;
  /** The same of IPv6, on networks that have it. */
  readonly address6?: Ipv6 | undefined;
  /** It has no end on the host. */
  readonly isLinked?: boolean;
  /** `eth1`: the sandbox's end. */
  readonly interfaceName: string;
  readonly gatewayPriority?: number | undefined;
  readonly links?: Readonly<Record<string, string>> | undefined;
  readonly names: readonly string[];
  readonly upstreams: readonly string[];
}

/** Endpoints of all networks: each holds its address from before its first packet until after its last. */
export class Endpoints {
  readonly #store: Store;
  readonly #records: ReturnType<typeof networkRecords>["endpoints"];
  /** Those of a network's subnets, in their order. */
  readonly #pools = new Map<string, readonly Subpool[]>();
  readonly #pools6 = new Map<string, readonly Subpool6[]>();
  /** By network id and address. */
  readonly #endpoints = new Map<string, EndpointRecord>();
  readonly #index = new EndpointIndex();
  #version = 0;

  private constructor(store: Store) {
    this.#store = store;
    this.#records = networkRecords(store).endpoints;
  }

  static async load(store: Store): Promise<Endpoints> {
    const endpoints = new Endpoints(store);
    for (const { key, value } of await endpoints.#records.list()) endpoints.#keep(key, value);
    return endpoints;
  }

  /** A number that changes with any of them. */
  get version(): number {
    return this.#version;
  }

  all(): EndpointRecord[] {
    return [...this.#endpoints.values()];
  }

  ofSandbox(sandboxId: string): EndpointRecord[] {
    return this.#index.ofSandbox(sandboxId);
  }

  ofNetwork(networkId: string): EndpointRecord[] {
    return this.#index.ofNetwork(networkId);
  }

  /** Of a network; the name in lower case. */
  named(networkId: string, name: string): EndpointRecord[] {
    return this.#index.named(networkId, name);
  }

  /**
   * Give a sandbox an address. It is written down as taken before anyone sees it, to be found by a daemon that comes after this
   * one; when the machine starts anew there are no sandboxes.
   *
   * @throws EngineError `resource_exhausted`
   */
  async create(
    network: EndpointNetwork,
    {
      sandboxId,
      containerId,
      mac,
      address: wanted,
      address6: wanted6,
      isLinked = false,
      interfaceName,
      gatewayPriority = 0,
      links,
      names,
      upstreams,
    }: EndpointRequest,
  ): Promise<EndpointRecord> {
    const taken = network.withoutIpv4 ? undefined : this.#take(network, wanted);
    let taken6: Taken6 | undefined;
    try {
      taken6 = this.#take6(network, wanted6);
    } catch (error) {
      taken?.from.pool.release(taken.address);
      throw error;
    }
    const endpoint: EndpointRecord = {
      endpointId: newId(),
      networkId: network.id,
      sandboxId,
      containerId,
      address: taken ? formatIpv4(taken.address) : "",
      prefixLength: taken?.from.subnet.prefixLength ?? 0,
      gateway: taken ? formatIpv4(taken.from.router) : "",
      ...(taken6 && { ipv6: ipv6Record(taken6) }),
      mac: mac ?? (taken ? macOf(taken.address) : newMac()),
      link: isLinked ? "" : `veth${randomBytes(5).toString("hex")}`,
      ...{ interfaceName, names, upstreams },
      ...(gatewayPriority !== 0 && { gatewayPriority }),
      ...(links && { links }),
    };
    const key = endpointKey(endpoint);
    try {
      await this.#store.commit([this.#records.put(key, endpoint)], [this.#records.absent(key)], {
        outlive: "process",
      });
    } catch (error) {
      taken?.from.pool.release(taken.address);
      if (taken6) taken6.from.pool.release(taken6.address);
      throw error;
    }
    this.#keep(key, endpoint);
    return endpoint;
  }

  /** Call an endpoint otherwise. */
  async rename(endpoint: EndpointRecord, names: readonly string[]): Promise<void> {
    const key = endpointKey(endpoint);
    const renamed = { ...endpoint, names };
    await this.#store.commit([this.#records.put(key, renamed)], [], { outlive: "process", whenAway: "keep" });
    this.#keep(key, renamed);
  }

  /** Free the addresses of endpoints that no longer have an interface. */
  async remove(endpoints: readonly EndpointRecord[]): Promise<void> {
    if (endpoints.length === 0) return;
    const keys = endpoints.map(endpointKey);
    await this.#store.commit(
      keys.map((key) => this.#records.delete(key)),
      [],
      { outlive: "process", whenAway: "keep" },
    );
    for (const [position, endpoint] of endpoints.entries()) {
      this.#forget(keys[position] ?? "");
      const address = parseIpv4(endpoint.address);
      if (address !== undefined) poolOf(this.#pools.get(endpoint.networkId), address)?.pool.release(address);
      const address6 = parseIpv6(endpoint.ipv6?.address ?? "");
      if (address6 !== undefined)
        poolOf6(this.#pools6.get(endpoint.networkId), address6)?.pool.release(address6);
    }
  }

  #keep(key: string, endpoint: EndpointRecord): void {
    this.#forget(key);
    this.#version++;
    this.#endpoints.set(key, endpoint);
    this.#index.add(endpoint);
  }

  #forget(key: string): void {
    const endpoint = this.#endpoints.get(key);
    if (!endpoint) return;
    this.#version++;
    this.#endpoints.delete(key);
    this.#index.delete(endpoint);
  }

  /** A network is gone: another may have its addresses. */
  forget(networkId: string): void {
    this.#pools.delete(networkId);
    this.#pools6.delete(networkId);
  }

  /** Of a network's subnets, by their text. */
  addressCounts(network: EndpointNetwork): Map<string, AddressCount> {
    const { id, withoutIpv4 = false, ipv6 } = network;
    return new Map([
      ...(withoutIpv4 ? [] : this.#subpools(network)).map(
        ({ subnet, pool }) => [formatSubnet(subnet), pool.count()] as const,
      ),
      ...(ipv6 ? this.#subpools6(id, ipv6) : []).map(
        ({ subnet, pool }) => [formatSubnet6(subnet), pool.count()] as const,
      ),
    ]);
  }

  #subpools({ id, further = [], reserved = [], ...first }: EndpointNetwork): readonly Subpool[] {
    const known = this.#pools.get(id);
    if (known) return known;
    const inUse = this.ofNetwork(id).flatMap(({ address }) => parseIpv4(address) ?? []);
    const pools = [first, ...further.map((one) => ({ ...one, router: one.gateway }))].map(
      ({ subnet, gateway, router = gateway, ipRange }): Subpool => {
        const pool = new AddressPool(subnet, [gateway, ...reserved], ipRange);
        pool.restore(inUse);
        return { subnet, router, pool };
      },
    );
    this.#pools.set(id, pools);
    return pools;
  }

  #take(network: EndpointNetwork, wanted: Ipv4 | undefined): { address: Ipv4; from: Subpool } {
    const pools = this.#subpools(network);
    const taken = takeFrom(pools, wanted, (address) => poolOf(pools, address));
    if (taken) return taken;
    throw new EngineError(
      "resource_exhausted",
      `no available IPv4 addresses on this network's address pools: ${network.name} (${network.id})`,
    );
  }

  #subpools6(id: string, { further = [], reserved, ...first }: EndpointNetwork6): readonly Subpool6[] {
    const known = this.#pools6.get(id);
    if (known) return known;
    const inUse = this.ofNetwork(id).flatMap(({ ipv6 }) => parseIpv6(ipv6?.address ?? "") ?? []);
    const pools = [first, ...further.map((one) => ({ ...one, router: one.gateway }))].map(
      ({ subnet, gateway, router = gateway, ipRange }): Subpool6 => {
        const pool = new Ipv6Pool(subnet, [gateway, ...reserved], ipRange);
        pool.restore(inUse);
        return { subnet, router, pool };
      },
    );
    this.#pools6.set(id, pools);
    return pools;
  }

  /** @returns undefined on a network without IPv6 */
  #take6({ id, name, ipv6 }: EndpointNetwork, wanted: Ipv6 | undefined): Taken6 | undefined {
    if (!ipv6) return undefined;
    const pools = this.#subpools6(id, ipv6);
    const taken = takeFrom(pools, wanted, (address) => poolOf6(pools, address));
    if (taken) return taken;
    throw new EngineError(
      "resource_exhausted",
      `no available IPv6 addresses on this network's address pools: ${name} (${id})`,
    );
  }
}

/** The addresses of one subnet, and where who has one sends what is for elsewhere. */
interface Subpool {
  readonly subnet: Subnet;
  readonly router: Ipv4;
  readonly pool: AddressPool;
}

interface Subpool6 {
  readonly subnet: Subnet6;
  readonly router: Ipv6;
  readonly pool: Ipv6Pool;
}

interface Taken6 {
  readonly address: Ipv6;
  readonly from: Subpool6;
}

const poolOf = (pools: readonly Subpool[] | undefined, address: Ipv4): Subpool | undefined =>
  pools?.find(({ subnet }) => contains(subnet, address));
const poolOf6 = (pools: readonly Subpool6[] | undefined, address: Ipv6): Subpool6 | undefined =>
  pools?.find(({ subnet }) => contains6(subnet, address));

/**
 * The address that is wanted, or any of the first pool that has one.
 * @returns undefined when none is left
 * @throws EngineError `failed_precondition` when the one that is wanted is taken
 */
function takeFrom<Address, From extends { readonly pool: Takeable<Address> }>(
  pools: readonly From[],
  wanted: Address | undefined,
  poolOf: (address: Address) => From | undefined,
): { readonly address: Address; readonly from: From } | undefined {
  if (wanted !== undefined) {
    const from = poolOf(wanted);
    if (from?.pool.claim(wanted)) return { address: wanted, from };
    throw new EngineError("failed_precondition", "Address already in use");
  }
  for (const from of pools) {
    const address = from.pool.take();
    if (address !== undefined) return { address, from };
  }
  return undefined;
}

interface Takeable<Address> {
  claim(address: Address): boolean;
  take(): Address | undefined;
}

function ipv6Record({ address, from }: Taken6) {
  const { subnet, router } = from;
  return {
    ...{ address: formatIpv6(address), prefixLength: subnet.prefixLength },
    gateway: formatIpv6(router),
  };
}
