import { broadcastOf, contains, type Ipv4, type Subnet, subnetSize } from "./ipv4.ts";
import type { AddressCount } from "./types.ts";

/**
 * Which addresses of a subnet are taken. Goes round the subnet, so that a released address rests as long as there are
 * others: neighbours may still have it in their ARP caches. Memory only; the caller records what it hands out.
 */
export class AddressPool {
  readonly #subnet: Subnet;
  readonly #range: Subnet;
  readonly #taken = new Set<Ipv4>();
  #next: Ipv4;

  /**
   * @param reserved never handed out, besides the network's own and the broadcast address: the gateway
   * @param range part of the subnet from which addresses come that nobody asked for by name
   */
  constructor(subnet: Subnet, reserved: Iterable<Ipv4>, range: Subnet = subnet) {
    this.#subnet = subnet;
    this.#range = range;
    for (const address of [subnet.base, broadcastOf(subnet), ...reserved]) this.#taken.add(address);
    this.#next = range.base === subnet.base ? range.base : range.base - 1;
  }

  /** Mark as taken what was handed out before; addresses of other subnets are ignored. */
  restore(addresses: Iterable<Ipv4>): void {
    for (const address of addresses) {
      if (!contains(this.#subnet, address)) continue;
      this.#taken.add(address);
      if (contains(this.#range, address)) this.#next = Math.max(this.#next, address);
    }
  }

  /** A free address, or undefined when all are taken. */
  take(): Ipv4 | undefined {
    const { base } = this.#range;
    const last = broadcastOf(this.#range);
    for (let tried = base; tried <= last; tried++) {
      this.#next = this.#next >= last ? base : this.#next + 1;
      if (this.#taken.has(this.#next)) continue;
      this.#taken.add(this.#next);
      return this.#next;
    }
    return undefined;
  }

  /** Take this one. Returns whether it was free, and one of the subnet's. */
  claim(address: Ipv4): boolean {
    if (!contains(this.#subnet, address) || this.#taken.has(address)) return false;
    this.#taken.add(address);
    return true;
  }

  release(address: Ipv4): void {
    this.#taken.delete(address);
  }

  /** How many of the subnet's addresses are taken, and how many of the range's are free. */
  count(): AddressCount {
    const within = (subnet: Subnet) => [...this.#taken].filter((address) => contains(subnet, address)).length;
    const free = subnetSize(this.#range.prefixLength) - within(this.#range);
    return { inUse: BigInt(within(this.#subnet)), available: BigInt(free) };
  }
}
