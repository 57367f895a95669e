import { broadcastOf, contains, type Ipv4, type Subnet } from "./ipv4.ts";

/**
 * Which addresses of a subnet are taken. Goes round the subnet, so that a released address rests as long as there are
 * others: neighbours may still have it in their ARP caches. Memory only; the caller records what it hands out.
 */
export class AddressPool {
  readonly #subnet: Subnet;
  readonly #taken = new Set<Ipv4>();
  #next: Ipv4;

  /** @param reserved never handed out, besides the network's own and the broadcast address: the gateway */
  constructor(subnet: Subnet, reserved: Iterable<Ipv4>) {
    this.#subnet = subnet;
    for (const address of [subnet.base, broadcastOf(subnet), ...reserved]) this.#taken.add(address);
    this.#next = subnet.base;
  }

  /** Mark as taken what was handed out before; addresses of other subnets are ignored. */
  restore(addresses: Iterable<Ipv4>): void {
    for (const address of addresses) {
      if (!contains(this.#subnet, address)) continue;
      this.#taken.add(address);
      this.#next = Math.max(this.#next, address);
    }
  }

  /** A free address, or undefined when all are taken. */
  take(): Ipv4 | undefined {
    const last = broadcastOf(this.#subnet);
    for (let tried = this.#subnet.base; tried <= last; tried++) {
      this.#next = this.#next >= last ? this.#subnet.base : this.#next + 1;
      if (this.#taken.has(this.#next)) continue;
      this.#taken.add(this.#next);
      return this.#next;
    }
    return undefined;
  }

  release(address: Ipv4): void {
    this.#taken.delete(address);
  }
}
