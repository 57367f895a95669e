import { linkKey, type NftExpression } from "@longshore/netlink";

/** What is told apart by address family: `NFPROTO_IPV4` or `NFPROTO_IPV6`, and where addresses lie in the header. */
export const FAMILIES = {
  ip: { protocol: 2, source: 12, destination: 16, bytes: 4 },
  ip6: { protocol: 10, source: 8, destination: 24, bytes: 16 },
} as const;
export type Family = keyof typeof FAMILIES;
/** By which interface a packet came, or goes. */
export type Direction = "iifname" | "oifname";
export type Statement = readonly NftExpression[];

export const inSet = (key: Direction, set: string): Statement => [
  { is: "meta", key },
  { is: "lookup", set },
];
export const isLink = (key: Direction, name: string, equal = true): Statement => [
  { is: "meta", key },
  { is: "compare", equal, value: linkKey(name) },
];
export const accept: NftExpression = { is: "verdict", verdict: "accept" };
export const drop: NftExpression = { is: "verdict", verdict: "drop" };

export const isFamily = (family: Family): Statement => [
  { is: "meta", key: "nfproto" },
  { is: "compare", equal: true, value: Uint8Array.of(FAMILIES[family].protocol) },
];

/** `127.0.0.0/8` at this place of the header. */
export const isLoopback = (place: "source" | "destination"): Statement => [
  ...isFamily("ip"),
  { is: "payload", offset: FAMILIES.ip[place], length: 1 },
  { is: "compare", equal: true, value: Uint8Array.of(127) },
];
