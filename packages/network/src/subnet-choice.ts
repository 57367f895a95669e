import { EngineError } from "@longshore/errors";
import { formatSubnet, overlap, parseCidr, type Subnet, subnetSize } from "./ipv4.ts";

/** Networks that nobody has given a subnet get one of `size` out of `base`. */
export interface AddressPoolSetting {
  /** `172.20.0.0/14` */
  readonly base: string;
  /** Prefix length of each network's subnet. */
  readonly size: number;
}

/** Docker's default pools for networks of one host, moby `libnetwork/ipamutils`. */
const DEFAULT_POOLS: readonly AddressPoolSetting[] = [
  { base: "172.17.0.0/16", size: 16 },
  { base: "172.18.0.0/16", size: 16 },
  { base: "172.19.0.0/16", size: 16 },
  { base: "172.20.0.0/14", size: 16 },
  { base: "172.24.0.0/14", size: 16 },
  { base: "172.28.0.0/14", size: 16 },
  { base: "192.168.0.0/16", size: 20 },
];

/** A subnet needs room for a gateway and a container. */
const LONGEST_PREFIX = 30;

/**
 * The first of the pools that meets none of the networks in use.
 *
 * @param pools Docker's default ones when empty
 * @throws EngineError `resource_exhausted` in Docker's words, with what is used up
 */
export function chooseSubnet(inUse: readonly Subnet[], pools: readonly AddressPoolSetting[] = []): Subnet {
  for (const subnet of freeSubnets(inUse, pools)) return subnet;
  const names = poolsOf(pools).map(({ base, size }) => `${base} in /${size}`);
  throw new EngineError(
    "resource_exhausted",
    `all predefined address pools have been fully subnetted: networks or routes of the host use all of ${names.join(", ")}`,
  );
}

/** How many subnets of the pools are still free, counted up to `most`. */
export function countFree(
  inUse: readonly Subnet[],
  pools: readonly AddressPoolSetting[],
  most: number,
): number {
  let count = 0;
  if (most > 0) for (const _ of freeSubnets(inUse, pools)) if (++count >= most) break;
  return count;
}

const poolsOf = (pools: readonly AddressPoolSetting[]) => (pools.length > 0 ? pools : DEFAULT_POOLS);

function* freeSubnets(inUse: readonly Subnet[], pools: readonly AddressPoolSetting[]): Generator<Subnet> {
  for (const candidate of candidates(poolsOf(pools)))
    if (!inUse.some((subnet) => overlap(subnet, candidate))) yield candidate;
}

/** @throws EngineError `invalid_argument` for what is no pool */
export function checkPools(pools: readonly AddressPoolSetting[]): void {
  for (const { base, size } of pools) {
    const { address, subnet } = parseCidr(base);
    const refuse = (why: string) =>
      new EngineError("invalid_argument", `invalid default address pool ${base}, size ${size}: ${why}`);
    if (address !== subnet.base) throw refuse(`the base should be ${formatSubnet(subnet)}`);
    if (!Number.isInteger(size) || size < subnet.prefixLength || size > LONGEST_PREFIX)
      throw refuse(`the size must be ${subnet.prefixLength} to ${LONGEST_PREFIX}`);
  }
}

function* candidates(pools: readonly AddressPoolSetting[]): Generator<Subnet> {
  for (const { base: range, size } of pools) {
    const { subnet } = parseCidr(range);
    const end = subnet.base + subnetSize(subnet.prefixLength);
    for (let base = subnet.base; base < end; base += subnetSize(size)) yield { base, prefixLength: size };
  }
}
