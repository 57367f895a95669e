import { contains6, type Ipv6, lastOf6, type Subnet6 } from "./ipv6.ts";
import type { AddressCount } from "./types.ts";

/** Which addresses of an IPv6 subnet are taken; as `AddressPool`, for networks too large to walk through. */
export class Ipv6Pool {
  readonly #subnet: Subnet6;
  readonly #range: Subnet6;
  readonly #taken = new Set<Ipv6>();
  #next: Ipv6;

  /**
   * @param reserved never handed out, besides the subnet's first address, which means any router (RFC 4291 2.6.1)
   * @param range part of the subnet from which addresses come that nobody asked for by name
   */
  constructor(subnet: Subnet6, reserved: Iterable<Ipv6>, range: Subnet6 = subnet) {
    this.#subnet = subnet;
    this.#range = range;
    for (const address of [subnet.base, ...reserved]) this.#taken.add(address);
    this.#next = range.base - 1n;
  }

  /** Mark as taken what was handed out before; addresses of other subnets are ignored. */
  restore(addresses: Iterable<Ipv6>): void {
    for (const address of addresses) {
      if (!contains6(this.#subnet, address)) continue;
      this.#taken.add(address);
      if (contains6(this.#range, address) && address > this.#next) this.#next = address;
    }
  }

  /** A free address, or undefined when all are taken. */
  take(): Ipv6 | undefined {
    const { base } = this.#range;
    const last = lastOf6(this.#range);
    // So many tries and one find a free one, if there is any.
    for (let tried = 0; tried <= this.#taken.size; tried++) {
      this.#next = this.#next >= last ? base : this.#next + 1n;
      if (this.#taken.has(this.#next)) continue;
      this.#taken.add(this.#next);
      return this.#next;
    }
    return undefined;
  }

  /** Take this one. Returns whether it was free, and one of the subnet's. */
  claim(address: Ipv6): boolean {
    if (!contains6(this.#subnet, address) || this.#taken.has(address)) return false;
    this.#taken.add(address);
    return true;
  }

  release(address: Ipv6): void {
    this.#taken.delete(address);
  }

  /** How many of the subnet's addresses are taken, and how many of the range's are free. */
  count(): AddressCount {
    const within = (subnet: Subnet6) =>
      BigInt([...this.#taken].filter((address) => contains6(subnet, address)).length);
    const size = lastOf6(this.#range) - this.#range.base + 1n;
    return { inUse: within(this.#subnet), available: size - within(this.#range) };
  }
}
