import {
  addBaseChain,
  addRule,
  addTable,
  deleteTable,
  linkKey,
  type NetlinkRequest,
  type NftBaseChain,
  type NftExpression,
  type NftTable,
} from "@longshore/netlink";
import { addressBytes } from "./name.ts";

/** Where a container believes its resolver to be. */
export const RESOLVER_ADDRESS = "127.0.0.11";

/**
 * To be set to 1 in the container's network namespace, without which the kernel sends nothing that comes from a loopback address. A
 * file of the namespace that the thread is in when it is opened.
 */
export const ROUTE_LOCALNET = "/proc/sys/net/ipv4/conf/all/route_localnet";

const TABLE: NftTable = { family: "ip", name: "longshore_dns" };
const PORT = 53;
const UDP = 17;
const TCP = 6;
const SOURCE_OFFSET = 12;
const DESTINATION_OFFSET = 16;
const RAW_PRIORITY = -300;
const DNAT_PRIORITY = -100;
const SNAT_PRIORITY = 100;

const portBytes = (port: number): Uint8Array => Uint8Array.of(port >> 8, port & 0xff);
const is = (...value: number[]): NftExpression => ({
  is: "compare",
  equal: true,
  value: Uint8Array.from(value),
});
const isLoopbackNetwork = (offset: number): NftExpression[] => [
  { is: "payload", offset, length: 1 },
  is(127),
];

/**
 * What to commit in a container's network namespace so that what its processes send to port 53 of 127.0.0.11, by UDP or TCP, goes to the
 * server, which sees the container's own address as the sender. The whole table is made anew: this also moves it to another server.
 *
 * ```
 * table ip longshore_dns {
 *   chain output { type nat hook output priority dstnat
 *     ip daddr 127.0.0.11 udp dport 53 dnat to <server>; ip daddr 127.0.0.11 tcp dport 53 dnat to <server> }
 *   chain postrouting { type nat hook postrouting priority srcnat
 *     ip saddr 127.0.0.0/8 oifname != "lo" masquerade }
 *   chain guard { type filter hook prerouting priority raw
 *     iifname != "lo" ip saddr 127.0.0.0/8 drop; iifname != "lo" ip daddr 127.0.0.0/8 drop }
 * }
 * ```
 *
 * The guard is there because `route_localnet` would let neighbours on the network reach what listens on the container's loopback addresses.
 *
 * @throws RangeError when the server's address is no IPv4 address
 */
export function redirection(server: { readonly address: string; readonly port: number }): NetlinkRequest[] {
  const bytes = addressBytes(server.address);
  if (bytes?.length !== 4) throw new RangeError(`not an IPv4 address: ${server.address}`);
  const toServer = (protocol: number): NftExpression[] => [
    { is: "payload", offset: DESTINATION_OFFSET, length: 4 },
    is(...(addressBytes(RESOLVER_ADDRESS) ?? [])),
    { is: "meta", key: "l4proto" },
    is(protocol),
    { is: "payload", header: "transport", offset: 2, length: 2 },
    is(...portBytes(PORT)),
    { is: "load", value: bytes, into: 0 },
    { is: "load", value: portBytes(server.port), into: 1 },
    { is: "dnat", family: "ip", address: 0, port: 1 },
  ];
  const notLo = (key: "iifname" | "oifname"): NftExpression[] => [
    { is: "meta", key },
    { is: "compare", equal: false, value: linkKey("lo") },
  ];
  const drop: NftExpression = { is: "verdict", verdict: "drop" };
  const chains: readonly (Omit<NftBaseChain, "policy"> & { readonly rules: readonly NftExpression[][] })[] = [
    {
      ...{ name: "output", type: "nat", hook: "output", priority: DNAT_PRIORITY },
      rules: [toServer(UDP), toServer(TCP)],
    },
    {
      ...{ name: "postrouting", type: "nat", hook: "postrouting", priority: SNAT_PRIORITY },
      rules: [[...isLoopbackNetwork(SOURCE_OFFSET), ...notLo("oifname"), { is: "masquerade" }]],
    },
    {
      ...{ name: "guard", type: "filter", hook: "prerouting", priority: RAW_PRIORITY },
      rules: [SOURCE_OFFSET, DESTINATION_OFFSET].map((offset) => [
        ...notLo("iifname"),
        ...isLoopbackNetwork(offset),
        drop,
      ]),
    },
  ];
  return [
    ...removeRedirection(),
    addTable(TABLE),
    ...chains.flatMap(({ rules, ...chain }) => [
      addBaseChain(TABLE, { ...chain, policy: "accept" }),
      ...rules.map((rule) => addRule(TABLE, chain.name, rule)),
    ]),
  ];
}

/** What to commit so that there is no such table, whether there was one or not. */
export function removeRedirection(): NetlinkRequest[] {
  return [addTable(TABLE), deleteTable(TABLE)];
}
