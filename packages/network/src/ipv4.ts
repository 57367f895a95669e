import { EngineError } from "@longshore/errors";

/** An IPv4 address as a number, 0 to 2^32 − 1. */
export type Ipv4 = number;

/** An IPv4 network: `base` has no bit set beyond the prefix. */
export interface Subnet {
  readonly base: Ipv4;
  readonly prefixLength: number;
}

const OCTET = "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const IPV4 = new RegExp(`^${OCTET}\\.${OCTET}\\.${OCTET}\\.${OCTET}$`);

/** Undefined for anything but four decimal numbers without leading zeros. */
export function parseIpv4(text: string): Ipv4 | undefined {
  const match = IPV4.exec(text);
  return match ? match.slice(1).reduce((address, octet) => address * 256 + Number(octet), 0) : undefined;
}

export function formatIpv4(address: Ipv4): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join(".");
}

/** Network byte order. */
export function ipv4Bytes(address: Ipv4): Uint8Array {
  return Uint8Array.of(address >>> 24, (address >>> 16) & 255, (address >>> 8) & 255, address & 255);
}

export function ipv4FromBytes(bytes: Uint8Array): Ipv4 {
  return bytes.reduce((address, octet) => address * 256 + octet, 0);
}

/**
 * An address with its network, `172.17.0.1/16`.
 *
 * @throws EngineError `invalid_argument`
 */
export function parseCidr(text: string): { address: Ipv4; subnet: Subnet } {
  const match = /^([^/]+)\/(\d{1,2})$/.exec(text);
  const address = parseIpv4(match?.[1] ?? "");
  const prefixLength = Number(match?.[2] ?? Number.NaN);
  if (address === undefined || !(prefixLength <= 32))
    throw new EngineError("invalid_argument", `invalid CIDR address: ${text}`);
  return { address, subnet: subnetOf(address, prefixLength) };
}

export function subnetOf(address: Ipv4, prefixLength: number): Subnet {
  return { base: address - (address % subnetSize(prefixLength)), prefixLength };
}

export function formatSubnet({ base, prefixLength }: Subnet): string {
  return `${formatIpv4(base)}/${prefixLength}`;
}

/** How many addresses, the network's own and the broadcast address among them. */
export function subnetSize(prefixLength: number): number {
  return 2 ** (32 - prefixLength);
}

/** Ones for the bits of the network. */
export function subnetMask(prefixLength: number): Ipv4 {
  return 2 ** 32 - subnetSize(prefixLength);
}

export function broadcastOf({ base, prefixLength }: Subnet): Ipv4 {
  return base + subnetSize(prefixLength) - 1;
}

export function contains(subnet: Subnet, address: Ipv4): boolean {
  return address >= subnet.base && address <= broadcastOf(subnet);
}

export function overlap(a: Subnet, b: Subnet): boolean {
  return contains(a, b.base) || contains(b, a.base);
}
