import net from "node:net";

export type Family = "IPv4" | "IPv6";

/** A network, or with all its bits an address. */
export interface IpPrefix {
  readonly family: Family;
  readonly value: bigint;
  readonly length: number;
  /** The address as it was written. */
  readonly address: string;
}

const BITS: Record<Family, number> = { IPv4: 32, IPv6: 128 };

/** Undefined for what is no address. */
export function parseAddress(text: string): IpPrefix | undefined {
  const version = net.isIP(text);
  if (version === 0 || text.includes("%")) return undefined;
  const family = version === 4 ? "IPv4" : "IPv6";
  const value = version === 4 ? ofIpv4(text) : ofIpv6(text);
  return { family, value, length: BITS[family], address: text };
}

/** `10.0.0.0/8`, `fd00::/64`; undefined for what is none. */
export function parsePrefix(text: string): IpPrefix | undefined {
  const [address = "", length = "", ...others] = text.split("/");
  const parsed = parseAddress(address);
  if (!parsed || others.length > 0 || !/^(0|[1-9]\d*)$/.test(length)) return undefined;
  return Number(length) <= parsed.length ? { ...parsed, length: Number(length) } : undefined;
}

/** Without the bits beyond its length. */
export function masked({ value, length, family, ...rest }: IpPrefix): IpPrefix {
  const host = BigInt(BITS[family] - length);
  return { ...rest, family, length, value: (value >> host) << host };
}

/** Whether all of `inner` lies in `outer`. */
export function contains(outer: IpPrefix, inner: IpPrefix): boolean {
  const same = outer.family === inner.family && outer.length <= inner.length;
  return same && masked({ ...inner, length: outer.length }).value === masked(outer).value;
}

/** `10.0.0.0/8` */
export function formatPrefix({ family, value, length }: IpPrefix): string {
  return `${family === "IPv4" ? formatIpv4(value) : formatIpv6(value)}/${length}`;
}

function formatIpv4(value: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 255n)).join(".");
}

function formatIpv6(value: bigint): string {
  const groups = Array.from({ length: 8 }, (_, at) => (value >> BigInt(16 * (7 - at))) & 0xffffn);
  // The URL's rules for hosts are those of RFC 5952.
  return new URL(`http://[${groups.map((group) => group.toString(16)).join(":")}]`).hostname.slice(1, -1);
}

function ofIpv4(text: string): bigint {
  return text.split(".").reduce((value, octet) => value * 256n + BigInt(octet), 0n);
}

function ofIpv6(text: string): bigint {
  const tail = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (tail?.[1] !== undefined && tail[2] !== undefined) {
    const value = ofIpv4(tail[2]);
    return ofIpv6(`${tail[1]}${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`);
  }
  const [head = "", rest] = text.split("::");
  const groups = (part: string | undefined) => (part ? part.split(":") : []);
  const [before, after] = [groups(head), groups(rest)];
  const zeros = Array<string>(8 - before.length - after.length).fill("0");
  return [...before, ...zeros, ...after].reduce((value, group) => value * 65_536n + BigInt(`0x${group}`), 0n);
}
