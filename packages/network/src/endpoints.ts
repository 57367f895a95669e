import { randomBytes } from "node:crypto";
import { EngineError } from "@longshore/errors";
import type { Store } from "@longshore/store";
import { AddressPool } from "./address-pool.ts";
import { macOf } from "./bridge.ts";
import { newId } from "./ids.ts";
import { formatIpv4, type Ipv4, parseIpv4, type Subnet } from "./ipv4.ts";
import { type EndpointRecord, endpointKey, networkRecords } from "./records.ts";

/** The network that endpoints are made in. */
export interface EndpointNetwork {
  readonly id: string;
  readonly name: string;
  readonly subnet: Subnet;
  readonly gateway: Ipv4;
  /** Where addresses come from that nobody asked for. */
  readonly ipRange?: Subnet;
  /** Addresses of the subnet that others use. */
  readonly reserved?: readonly Ipv4[];
}

export interface EndpointRequest {
  readonly sandboxId: string;
  readonly containerId: string;
  readonly mac?: string | undefined;
  /** An address of the network's; the next free one when left out. */
  readonly address?: Ipv4 | undefined;
  /** `eth1`: the sandbox's end. */
  readonly interfaceName: string;
  readonly names: readonly string[];
  readonly upstreams: readonly string[];
}

/** Endpoints of all networks: each holds its address from before its first packet until after its last. */
export class Endpoints {
  readonly #store: Store;
  readonly #records: ReturnType<typeof networkRecords>["endpoints"];
  readonly #pools = new Map<string, AddressPool>();
  /** By network id and address. */
  readonly #endpoints = new Map<string, EndpointRecord>();

  private constructor(store: Store) {
    this.#store = store;
    this.#records = networkRecords(store).endpoints;
  }

  static async load(store: Store): Promise<Endpoints> {
    const endpoints = new Endpoints(store);
    for (const { key, value } of await endpoints.#records.list()) endpoints.#endpoints.set(key, value);
    return endpoints;
  }

  all(): EndpointRecord[] {
    return [...this.#endpoints.values()];
  }

  ofSandbox(sandboxId: string): EndpointRecord[] {
    return this.all().filter((endpoint) => endpoint.sandboxId === sandboxId);
  }

  ofNetwork(networkId: string): EndpointRecord[] {
    return this.all().filter((endpoint) => endpoint.networkId === networkId);
  }

  /**
   * Give a sandbox an address. It is written down as taken before anyone sees it, to be found by a daemon that comes after this
   * one; when the machine starts anew there are no sandboxes.
   *
   * @throws EngineError `resource_exhausted`
   */
  async create(
    network: EndpointNetwork,
    { sandboxId, containerId, mac, address: wanted, interfaceName, names, upstreams }: EndpointRequest,
  ): Promise<EndpointRecord> {
    const pool = this.#pool(network);
    const address = wanted === undefined ? pool.take() : claim(pool, wanted);
    if (address === undefined)
      throw new EngineError(
        "resource_exhausted",
        `no available IPv4 addresses on this network's address pools: ${network.name} (${network.id})`,
      );
    const endpoint: EndpointRecord = {
      endpointId: newId(),
      networkId: network.id,
      sandboxId,
      containerId,
      address: formatIpv4(address),
      prefixLength: network.subnet.prefixLength,
      gateway: formatIpv4(network.gateway),
      mac: mac ?? macOf(address),
      link: `veth${randomBytes(5).toString("hex")}`,
      ...{ interfaceName, names, upstreams },
    };
    const key = endpointKey(endpoint);
    try {
      await this.#store.commit([this.#records.put(key, endpoint)], [this.#records.absent(key)], {
        outlive: "process",
      });
    } catch (error) {
      pool.release(address);
      throw error;
    }
    this.#endpoints.set(key, endpoint);
    return endpoint;
  }

  /** Call an endpoint otherwise. */
  async rename(endpoint: EndpointRecord, names: readonly string[]): Promise<void> {
    const key = endpointKey(endpoint);
    const renamed = { ...endpoint, names };
    await this.#store.commit([this.#records.put(key, renamed)], [], { outlive: "process", whenAway: "keep" });
    this.#endpoints.set(key, renamed);
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
      this.#endpoints.delete(keys[position] ?? "");
      const address = parseIpv4(endpoint.address);
      if (address !== undefined) this.#pools.get(endpoint.networkId)?.release(address);
    }
  }

  /** A network is gone: another may have its addresses. */
  forget(networkId: string): void {
    this.#pools.delete(networkId);
  }

  #pool({ id, subnet, gateway, ipRange, reserved = [] }: EndpointNetwork): AddressPool {
    const known = this.#pools.get(id);
    if (known) return known;
    const pool = new AddressPool(subnet, [gateway, ...reserved], ipRange);
    pool.restore(this.ofNetwork(id).flatMap(({ address }) => parseIpv4(address) ?? []));
    this.#pools.set(id, pool);
    return pool;
  }
}

function claim(pool: AddressPool, address: Ipv4): Ipv4 {
  if (pool.claim(address)) return address;
  throw new EngineError("failed_precondition", "Address already in use");
}
