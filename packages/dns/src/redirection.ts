import {
  addBaseChain,
  addRule,
  addTable,
  deleteTable,
  type NetlinkRequest,
  type NftExpression,
  type NftTable,
} from "@longshore/netlink";

/** Where a container believes its resolver to be. */
export const RESOLVER_ADDRESS = "127.0.0.11";
const RESOLVER_BYTES = [127, 0, 0, 11];

const TABLE: NftTable = { family: "ip", name: "longshore_dns" };
const PORT = 53;
const UDP = 17;
const TCP = 6;
const DESTINATION_OFFSET = 16;
const DNAT_PRIORITY = -100;

const portBytes = (port: number): Uint8Array => Uint8Array.of(port >> 8, port & 0xff);
const is = (...value: number[]): NftExpression => ({
  is: "compare",
  equal: true,
  value: Uint8Array.from(value),
});

/**
 * What to commit in a container's network namespace so that what its processes send to port 53 of 127.0.0.11, by UDP or TCP, goes to the
 * server that listens at another port of that address in the same namespace. The port itself stays free for servers of the container's own.
 * The whole table is made anew: this also leads to a server that comes after another.
 *
 * ```
 * table ip longshore_dns {
 *   chain output { type nat hook output priority dstnat
 *     ip daddr 127.0.0.11 udp dport 53 dnat to 127.0.0.11:<port>; ip daddr 127.0.0.11 tcp dport 53 dnat to 127.0.0.11:<port> }
 * }
 * ```
 */
export function redirection(port: number): NetlinkRequest[] {
  const address = Uint8Array.from(RESOLVER_BYTES);
  const toServer = (protocol: number): NftExpression[] => [
    { is: "payload", offset: DESTINATION_OFFSET, length: 4 },
    is(...RESOLVER_BYTES),
    { is: "meta", key: "l4proto" },
    is(protocol),
    { is: "payload", header: "transport", offset: 2, length: 2 },
    is(...portBytes(PORT)),
    { is: "load", value: address, into: 0 },
    { is: "load", value: portBytes(port), into: 1 },
    { is: "dnat", family: "ip", address: 0, port: 1 },
  ];
  const output = { name: "output", type: "nat", hook: "output", priority: DNAT_PRIORITY } as const;
  return [
    ...removeRedirection(),
    addTable(TABLE),
    addBaseChain(TABLE, { ...output, policy: "accept" }),
    ...[UDP, TCP].map((protocol) => addRule(TABLE, output.name, toServer(protocol))),
  ];
}

/** What to commit so that there is no such table, whether there was one or not. */
export function removeRedirection(): NetlinkRequest[] {
  return [addTable(TABLE), deleteTable(TABLE)];
}
