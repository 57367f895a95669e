import { randomBytes } from "node:crypto";
import fs from "node:fs";
import { EngineError, isErrno } from "@longshore/errors";
import {
  addAddress,
  addLocalRoute,
  createBridge,
  createVeth,
  deleteAddress,
  deleteLink,
  type Link,
  type RouteSocket,
  setLink,
} from "@longshore/netlink";
import { broadcastOf, type Ipv4, ipv4Bytes, type Subnet } from "./ipv4.ts";
import { type Ipv6, ipv6Bytes, type Subnet6 } from "./ipv6.ts";

/** The wanted state of a bridge. */
export interface BridgeSettings {
  readonly name: string;
  readonly mac: string;
  /** It has IPv6 only: `subnet` and `gateway` mean nothing. */
  readonly withoutIpv4?: boolean;
  readonly subnet: Subnet;
  readonly gateway: Ipv4;
  readonly ipv6?: { readonly subnet: Subnet6; readonly gateway: Ipv6 };
  /** Bytes. */
  readonly mtu: number;
}

/** Of a new MAC address, as the bridge's and its containers' start: locally administered. */
export const MAC_PREFIX = "02:42";

/** Locally administered, and kept: who changes its address is a new neighbour to everybody. */
export function newMac(): string {
  const tail = Array.from(randomBytes(4), (byte) => byte.toString(16).padStart(2, "0"));
  return `${MAC_PREFIX}:${tail.join(":")}`;
}

/** Docker's rule: the IPv4 address after the prefix. */
export function macOf(address: Ipv4): string {
  const octets = Array.from(ipv4Bytes(address), (octet) => octet.toString(16).padStart(2, "0"));
  return `${MAC_PREFIX}:${octets.join(":")}`;
}

/**
 * Make the bridge what it should be: new, or as it is found after a restart or a change of the address.
 *
 * @returns its index
 * @throws EngineError `failed_precondition` when another kind of interface has the name
 */
export function ensureBridge(route: RouteSocket, settings: BridgeSettings): number {
  const { name, mac, withoutIpv4, subnet, gateway, ipv6, mtu } = settings;
  const found = route.link(name);
  if (found && found.kind !== "bridge")
    throw new EngineError("failed_precondition", `interface ${name} exists and is not a bridge`);
  if (!found) route.run(createBridge({ name, mac, mtu }));
  const { index } = found ?? requireLink(route, name);
  if (found && found.mtu !== mtu) route.run(setLink({ index }, { mtu }));

  // Without IPv6 there is to be no link-local address either. With it nobody on the bridge is to tell the host of routers.
  writeSysctl(`net/ipv6/conf/${name}/accept_ra`, "0");
  // Nor is it to wait a second for objections to its link-local address, without which it finds no neighbour.
  writeSysctl(`net/ipv6/conf/${name}/accept_dad`, "0");
  writeSysctl(`net/ipv6/conf/${name}/disable_ipv6`, ipv6 ? "0" : "1");
  // Published ports are reached by the host's own 127.0.0.1 as well; the firewall sees to who else may use such addresses.
  writeSysctl(`net/ipv4/conf/${name}/route_localnet`, "1");
  refuseForged(name);
  const address = ipv4Bytes(gateway);
  const own = [
    ...(withoutIpv4
      ? []
      : [{ index, address, prefixLength: subnet.prefixLength, broadcast: ipv4Bytes(broadcastOf(subnet)) }]),
    ...(ipv6 ? [{ index, address: ipv6Bytes(ipv6.gateway), prefixLength: ipv6.subnet.prefixLength }] : []),
  ];
  for (const other of route.addresses())
    if (other.index === index && other.global && !own.some((one) => isSame(one, other)))
      route.run(deleteAddress(other));
  route.run(...own.map(addAddress), setLink({ index }, { up: true }));
  if (ipv6) answerLoopback6(route, index);
  return index;
}

/** Let the kernel itself drop what no container has reason to send; unlike rules, these settings stay when somebody flushes rules. */
function refuseForged(name: string): void {
  // Sources that are not reached from here, of loopback before all. A stricter setting of the host stays.
  const reversePath = `net/ipv4/conf/${name}/rp_filter`;
  if (readSysctl(reversePath) === "0") writeSysctl(reversePath, "2");
  // Containers don't direct the host elsewhere, nor does it tell them of better ways past its firewall.
  for (const family of ["ipv4", "ipv6"]) writeSysctl(`net/${family}/conf/${name}/accept_redirects`, "0");
  writeSysctl(`net/ipv4/conf/${name}/send_redirects`, "0");
}

/** Let the kernel forward no IPv4 packet that comes from an internal network's bridge, whatever becomes of the rules. */
export function forwardNothing(name: string): void {
  writeSysctl(`net/ipv4/conf/${name}/forwarding`, "0");
}

/** Whether an answer to `::1` that crosses a bridge is translated before the kernel looks whether it may be there, and so is dropped. */
export function forgesLoopback6(): boolean {
  return readSysctl("net/bridge/bridge-nf-call-ip6tables") === "1";
}

/** Published ports are reached by the host's own `::1` as well: answers to it come by the bridge. */
function answerLoopback6(route: RouteSocket, index: number): void {
  try {
    route.run(addLocalRoute(index, ipv6Bytes(1n)));
  } catch (error) {
    if (!isErrno(error, "EEXIST")) throw error;
  }
}

/** Let the host forward IPv4. Returns whether it already did. */
export function enableForwarding(): boolean {
  const file = "/proc/sys/net/ipv4/ip_forward";
  const was = fs.readFileSync(file, "utf8").trim() !== "0";
  if (!was) fs.writeFileSync(file, "1");
  return was;
}

/**
 * Let the host forward IPv6. Returns whether it already did.
 *
 * A router doesn't believe other routers: interfaces that got their routes and addresses from one are told to go on with it.
 */
export function enableForwarding6(): boolean {
  const all = "net/ipv6/conf/all/forwarding";
  if (readSysctl(all) !== "0") return true;
  for (const name of fs.readdirSync("/proc/sys/net/ipv6/conf")) {
    const file = `net/ipv6/conf/${name}/accept_ra`;
    if (name !== "all" && readSysctl(file) === "1") writeSysctl(file, "2");
  }
  writeSysctl(all, "1");
  return false;
}

/** A veth pair from the host into a network namespace. */
export interface VethPair {
  /** The host's end. */
  readonly link: string;
  readonly netns: number;
  /** Name, MAC address and MTU of the other end. */
  readonly name: string;
  readonly mac: string;
  readonly mtu: number;
}

/**
 * Make the pair, its inner end still down and without addresses. On failure nothing is left.
 * @param join puts the host's end on its bridge
 */
export function attach(route: RouteSocket, pair: VethPair, join: (link: string) => void): void {
  const { link, netns, name, mac, mtu } = pair;
  route.run(createVeth({ name: link, mtu, peer: { name, netns, mac } }));
  try {
    join(link);
  } catch (error) {
    detach(route, link);
    throw error;
  }
}

/** Remove a veth pair by the name of the host's end; none is no error. */
export function detach(route: RouteSocket, link: string): void {
  if (link === "") return;
  unlessGone(() => route.run(deleteLink(link)));
}

/** An interface of ours that only passes on what others send is to have no address of its own. */
export function passOnly(name: string): void {
  writeSysctl(`net/ipv6/conf/${name}/disable_ipv6`, "1");
  // Nor may it answer for those that the host has elsewhere.
  writeSysctl(`net/ipv4/conf/${name}/arp_ignore`, "8");
}

/** The kernel may be taking the interface away at this moment, with its other end. */
function unlessGone(change: () => void): void {
  try {
    change();
  } catch (error) {
    if (!isErrno(error, "ENODEV")) throw error;
  }
}

/** Bridges that a real Docker has made. */
export function dockerBridges(links: readonly Link[], own: readonly string[]): string[] {
  return links
    .filter(({ kind, name }) => kind === "bridge" && /^(docker0|br-[0-9a-f]{12})$/.test(name))
    .map(({ name }) => name)
    .filter((name) => !own.includes(name));
}

export function requireLink(route: RouteSocket, name: string): Link {
  const link = route.link(name);
  if (!link) throw new EngineError("internal", `interface ${name} is gone`);
  return link;
}

interface Prefixed {
  readonly address: Uint8Array;
  readonly prefixLength: number;
}

function isSame(a: Prefixed, b: Prefixed): boolean {
  return a.prefixLength === b.prefixLength && Buffer.compare(a.address, b.address) === 0;
}

/** Undefined for what the kernel doesn't have. */
function readSysctl(name: string): string | undefined {
  try {
    return fs.readFileSync(`/proc/sys/${name}`, "utf8").trim();
  } catch {
    return undefined;
  }
}

/** `net/ipv6/…`; a kernel without the setting is fine. */
function writeSysctl(name: string, value: string): void {
  const file = `/proc/sys/${name}`;
  if (fs.existsSync(file)) fs.writeFileSync(file, value);
}
