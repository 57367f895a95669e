import fs from "node:fs";
import { EngineError, isErrno } from "@longshore/errors";
import { bind, close, setsockopt, socket } from "@longshore/syscalls";
import { ipv4Bytes, parseIpv4 } from "./ipv4.ts";
import { formatIpv6, ipv6Bytes, parseIpv6 } from "./ipv6.ts";
import type { PortBinding, PortRequest } from "./types.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const SOL_IPV6 = 41;
const IPV6_V6ONLY = 26;
const SOCKETS = { tcp: 1, udp: 2 } as const;
const SOCK_CLOEXEC = 0x80000;
const ANY = "0.0.0.0";
const ANY6 = "::";
/** Where ports come from that nobody named, when the kernel doesn't say. */
const EPHEMERAL: readonly [number, number] = [32_768, 60_999];

/** Protocols of a container that are reached by IPv6. */
export type Ipv6Ports = "all" | "tcp" | "none";

export interface ReserveOptions {
  /** For which protocols a request for any address means IPv6 as well. */
  readonly ipv6?: Ipv6Ports;
  /** Whether it means IPv4. */
  readonly ipv4?: boolean;
}

/** A port of the host at one of its addresses, or at any of a family. */
type HostPort = Pick<PortBinding, "protocol" | "hostIp" | "hostPort">;

/** Which ports of the host lead to which container, each held by a socket so that no other program takes it. */
export class PortReservations implements Disposable {
  /** The sockets by protocol, family and port, and then by address; undefined where there is none. */
  readonly #held = new Map<string, Map<string, number | undefined>>();
  #next = 0;

  /**
   * Find a host port for each request and hold it. All or none.
   *
   * @throws EngineError `internal` in Docker's words for a port that is taken
   */
  reserve(
    requests: readonly PortRequest[],
    { ipv6 = "none", ipv4 = true }: ReserveOptions = {},
  ): PortBinding[] {
    const bindings: PortBinding[] = [];
    try {
      for (const request of requests) bindings.push(...this.#reserveOne(request, { ipv6, ipv4 }));
      return bindings;
    } catch (error) {
      this.release(bindings);
      throw error;
    }
  }

  /** Hold ports that an earlier process gave out: their containers run. Returns those that another program has. */
  restore(bindings: readonly PortBinding[]): PortBinding[] {
    return together(bindings).flatMap((ports) => {
      try {
        this.#holdAll(ports);
        return [];
      } catch {
        // They lead to the container all the same.
        for (const port of ports) this.#put(port, undefined);
        return ports;
      }
    });
  }

  release(ports: readonly HostPort[]): void {
    for (const port of ports) {
      const key = keyOf(port);
      const held = this.#held.get(key);
      const fd = held?.get(port.hostIp);
      if (fd !== undefined) close(fd);
      held?.delete(port.hostIp);
      if (held?.size === 0) this.#held.delete(key);
    }
  }

  [Symbol.dispose](): void {
    for (const held of this.#held.values()) for (const fd of held.values()) if (fd !== undefined) close(fd);
    this.#held.clear();
  }

  /** The same port at each of the addresses that are meant. */
  #reserveOne(
    { protocol, containerPort, hostIp, hostPorts }: PortRequest,
    { ipv6, ipv4 }: Required<ReserveOptions>,
  ): PortBinding[] {
    const reachesIpv6 = (ipv6 === "all" || ipv6 === protocol) && hasIpv6();
    if (hostIp.includes(":") && !reachesIpv6) {
      throw new EngineError(
        "invalid_argument",
        `${protocol} can't be published at [${hostIp}]: the container has no IPv6`,
      );
    }
    if (hostIp !== "" && !hostIp.includes(":") && !ipv4)
      throw new EngineError(
        "invalid_argument",
        `${protocol} can't be published at ${hostIp}: the container has no IPv4`,
      );
    const any = [...(ipv4 ? [ANY] : []), ...(reachesIpv6 ? [ANY6] : [])];
    const addresses = hostIp === "" ? any : [normalize(hostIp)];
    const [first, last] = hostPorts ?? ephemeralRange();
    const anyOf = last - first + 1;
    // Ports that nobody named are handed out in turn; of a range that somebody named the first free one is taken.
    const start = hostPorts ? 0 : this.#next;
    let failure: unknown;
    for (let tried = 0; tried < anyOf; tried++) {
      const hostPort = first + ((start + tried) % anyOf);
      const bindings = addresses.map((address) => ({ protocol, containerPort, hostIp: address, hostPort }));
      try {
        this.#holdAll(bindings);
      } catch (error) {
        failure = error;
        continue;
      }
      if (!hostPorts) this.#next = (start + tried + 1) % anyOf;
      return bindings;
    }
    if (anyOf === 1) throw failure;
    throw new EngineError("internal", "all ports are allocated");
  }

  /** One port, or that of all addresses of both families, which one socket holds. */
  #holdAll(ports: readonly HostPort[]): void {
    for (const port of ports) {
      if (this.#isTaken(port))
        throw new EngineError("internal", `Bind for ${shownOf(port)} failed: port is already allocated`);
    }
    const [first, second] = ports;
    if (!first) return;
    this.#put(first, open(second ?? first, { both: second !== undefined }));
    if (second) this.#put(second, undefined);
  }

  #put(port: HostPort, fd: number | undefined): void {
    const key = keyOf(port);
    const held = this.#held.get(key) ?? new Map<string, number | undefined>();
    this.#held.set(key, held.set(port.hostIp, fd));
  }

  /** A port of all addresses of a family is taken with that of any one, and the other way round. */
  #isTaken(port: HostPort): boolean {
    const held = this.#held.get(keyOf(port));
    const any = isIpv6(port) ? ANY6 : ANY;
    return held !== undefined && (port.hostIp === any || held.has(port.hostIp) || held.has(any));
  }
}

function isIpv6({ hostIp }: HostPort): boolean {
  return hostIp.includes(":");
}

function keyOf(port: HostPort): string {
  return `${port.protocol}/${isIpv6(port) ? "ip6" : "ip"}/${port.hostPort}`;
}

/** One way to write each address. */
function normalize(hostIp: string): string {
  const address = parseIpv6(hostIp);
  return address === undefined ? hostIp : formatIpv6(address);
}

function shownOf({ hostIp, hostPort }: HostPort): string {
  return `${hostIp.includes(":") ? `[${hostIp}]` : hostIp}:${hostPort}`;
}

/** Bindings that one request gave: at all addresses of IPv4 and, right after it, of IPv6. */
function together(bindings: readonly PortBinding[]): PortBinding[][] {
  const groups: PortBinding[][] = [];
  for (const binding of bindings) {
    const last = groups.at(-1);
    const [before, ...more] = last ?? [];
    const belongs =
      before?.hostIp === ANY &&
      more.length === 0 &&
      binding.hostIp === ANY6 &&
      before.hostPort === binding.hostPort &&
      before.protocol === binding.protocol;
    if (last && belongs) last.push(binding);
    else groups.push([binding]);
  }
  return groups;
}

/**
 * A socket that holds a port and never listens; undefined for protocols of which nothing listens but by the kernel's leave, which may lack them.
 *
 * @param options.both an address of IPv6 means those of IPv4 as well
 * @throws EngineError `internal`, in Docker's words
 */
function open(port: HostPort, { both }: { both: boolean }): number | undefined {
  const { protocol, hostIp, hostPort } = port;
  if (protocol === "sctp") return undefined;
  try {
    const fd = socket(isIpv6(port) ? AF_INET6 : AF_INET, SOCKETS[protocol] | SOCK_CLOEXEC);
    try {
      if (isIpv6(port)) setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, both ? 0 : 1);
      bind(fd, socketAddress(hostIp, hostPort));
      return fd;
    } catch (error) {
      close(fd);
      throw error;
    }
  } catch (error) {
    const shown = shownOf(both ? { ...port, hostIp: ANY } : port);
    const failed = (why: string) =>
      new EngineError("internal", `failed to bind host port for ${shown}: ${why}`, { cause: error });
    if (isErrno(error, "EADDRINUSE")) throw failed("address already in use");
    if (isErrno(error, "EADDRNOTAVAIL")) throw failed("cannot assign requested address");
    if (isErrno(error, "EAFNOSUPPORT")) throw failed("this host has no IPv6");
    if (isErrno(error, "EMFILE")) throw failed("too many open files, of which each published port is one");
    throw error;
  }
}

/** `struct sockaddr_in`, or `sockaddr_in6` */
function socketAddress(hostIp: string, port: number): Uint8Array {
  const address6 = parseIpv6(hostIp);
  const bytes = Buffer.from(new ArrayBuffer(address6 === undefined ? 16 : 28));
  bytes.writeUInt16LE(address6 === undefined ? AF_INET : AF_INET6, 0);
  bytes.writeUInt16BE(port, 2);
  if (address6 === undefined) bytes.set(ipv4Bytes(parseIpv4(hostIp) ?? 0), 4);
  else bytes.set(ipv6Bytes(address6), 8);
  return bytes;
}

let ipv6: boolean | undefined;

function hasIpv6(): boolean {
  ipv6 ??= fs.existsSync("/proc/net/if_inet6");
  return ipv6;
}

function ephemeralRange(): readonly [number, number] {
  try {
    const text = fs.readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8");
    const [first = Number.NaN, last = Number.NaN] = text.trim().split(/\s+/).map(Number);
    return first > 0 && last >= first ? [first, last] : EPHEMERAL;
  } catch {
    return EPHEMERAL;
  }
}
