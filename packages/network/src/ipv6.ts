import net from "node:net";
import { EngineError } from "@longshore/errors";

/** An IPv6 address as a number, 0 to 2^128 − 1. */
export type Ipv6 = bigint;

/** An IPv6 network: `base` has no bit set beyond the prefix. */
export interface Subnet6 {
  readonly base: Ipv6;
  readonly prefixLength: number;
}

const GROUPS = 8;
const BITS = 128;

/** Undefined for anything but an address as RFC 4291 2.2 writes it, without a zone. */
export function parseIpv6(text: string): Ipv6 | undefined {
  if (!net.isIPv6(text) || text.includes("%")) return undefined;
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  const hex = (high = "", low = "") => (Number(high) * 256 + Number(low)).toString(16);
  const plain = dotted ? `${dotted[1]}${hex(dotted[2], dotted[3])}:${hex(dotted[4], dotted[5])}` : text;
  const [head = "", tail] = plain.split("::");
  const groups = (part: string): string[] => (part === "" ? [] : part.split(":"));
  const [before, after] = [groups(head), groups(tail ?? "")];
  const zeros = Array<string>(GROUPS - before.length - after.length).fill("0");
  return [...before, ...zeros, ...after].reduce(
    (address, group) => (address << 16n) | BigInt(`0x${group}`),
    0n,
  );
}

/** As RFC 5952 wants it: lower case, the longest run of zeros left out. */
export function formatIpv6(address: Ipv6): string {
  const groups = Array.from({ length: GROUPS }, (_, at) => (address >> BigInt(112 - 16 * at)) & 0xffffn);
  let [start, length] = [0, 1];
  for (let at = 0; at < GROUPS; at++) {
    let run = 0;
    while (at + run < GROUPS && groups[at + run] === 0n) run++;
    if (run > length) [start, length] = [at, run];
  }
  const text = (some: readonly bigint[]) => some.map((group) => group.toString(16)).join(":");
  if (length < 2) return text(groups);
  return `${text(groups.slice(0, start))}::${text(groups.slice(start + length))}`;
}

/** Network byte order. */
export function ipv6Bytes(address: Ipv6): Uint8Array {
  return Uint8Array.from({ length: BITS / 8 }, (_, at) => Number((address >> BigInt(120 - 8 * at)) & 0xffn));
}

export function ipv6FromBytes(bytes: Uint8Array): Ipv6 {
  return bytes.reduce((address, byte) => (address << 8n) | BigInt(byte), 0n);
}

/**
 * An address with its network, `fd00::1/64`.
 *
 * @throws EngineError `invalid_argument`
 */
export function parseCidr6(text: string): { address: Ipv6; subnet: Subnet6 } {
  const match = /^([^/]+)\/(\d{1,3})$/.exec(text);
  const address = parseIpv6(match?.[1] ?? "");
  const prefixLength = Number(match?.[2] ?? Number.NaN);
  if (address === undefined || !(prefixLength <= BITS))
    throw new EngineError("invalid_argument", `invalid CIDR address: ${text}`);
  return { address, subnet: subnet6Of(address, prefixLength) };
}

export function subnet6Of(address: Ipv6, prefixLength: number): Subnet6 {
  const host = BigInt(BITS - prefixLength);
  return { base: (address >> host) << host, prefixLength };
}

export function formatSubnet6({ base, prefixLength }: Subnet6): string {
  return `${formatIpv6(base)}/${prefixLength}`;
}

/** Ones for the bits of the network. */
export function subnet6Mask(prefixLength: number): Ipv6 {
  return (1n << BigInt(BITS)) - (1n << BigInt(BITS - prefixLength));
}

export function lastOf6({ base, prefixLength }: Subnet6): Ipv6 {
  return base + (1n << BigInt(BITS - prefixLength)) - 1n;
}

export function contains6(subnet: Subnet6, address: Ipv6): boolean {
  return address >= subnet.base && address <= lastOf6(subnet);
}

export function overlap6(a: Subnet6, b: Subnet6): boolean {
  return contains6(a, b.base) || contains6(b, a.base);
}
