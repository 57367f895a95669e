import { EngineError } from "@longshore/errors";
import { overlap, parseCidr, type Subnet, subnetSize } from "./ipv4.ts";

/** Docker's default pools for networks of one host, moby `libnetwork/ipamutils`. */
const POOLS: ReadonlyArray<{ readonly range: string; readonly prefixLength: number }> = [
  { range: "172.17.0.0/16", prefixLength: 16 },
  { range: "172.18.0.0/16", prefixLength: 16 },
  { range: "172.19.0.0/16", prefixLength: 16 },
  { range: "172.20.0.0/14", prefixLength: 16 },
  { range: "172.24.0.0/14", prefixLength: 16 },
  { range: "172.28.0.0/14", prefixLength: 16 },
  { range: "192.168.0.0/16", prefixLength: 20 },
];

function* candidates(): Generator<Subnet> {
  for (const { range, prefixLength } of POOLS) {
    const { subnet } = parseCidr(range);
    const step = subnetSize(prefixLength);
    for (let base = subnet.base; base < subnet.base + subnetSize(subnet.prefixLength); base += step)
      yield { base, prefixLength };
  }
}

/**
 * The first of the default pools that meets none of the networks in use.
 *
 * @throws EngineError `resource_exhausted`
 */
export function chooseSubnet(inUse: readonly Subnet[]): Subnet {
  for (const candidate of candidates())
    if (!inUse.some((subnet) => overlap(subnet, candidate))) return candidate;
  throw new EngineError("resource_exhausted", "all predefined address pools have been fully subnetted");
}
