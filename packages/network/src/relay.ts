import net from "node:net";
import type { Logger } from "@longshore/log";
import { getsockopt } from "@longshore/syscalls";
import { formatIpv4, ipv4FromBytes } from "./ipv4.ts";
import { ipv6Bytes, parseIpv6 } from "./ipv6.ts";
import type { PublishedPort } from "./ruleset.ts";

const SOL_IPV6 = 41;
/** linux/netfilter_ipv6/ip6_tables.h: where a connection went before it was redirected, as a `struct sockaddr_in6`. */
const IP6T_SO_ORIGINAL_DST = 80;
const SOCKADDR_IN6_BYTES = 28;

/** Connections at a time; further ones are refused. Each takes two descriptors and at most some 100 kB. */
const MOST = 2048;
const MOST_OF_PORT = 1024;
/** Those of one client, which may have all addresses of its link's prefix. */
const MOST_OF_CLIENT = 512;
const LINK_PREFIX_BYTES = 8;
/** A container that doesn't answer so long is one that can't be reached. */
const CONNECT_MS = 10_000;
/** As with Docker's proxy: a peer that is gone is noticed, one that is silent is waited for. */
const KEEPALIVE_MS = 15_000;
/** Once one side has ended, the other must go on: nothing for so long ends the connection. */
const HALF_CLOSED_MS = 5 * 60_000;

/**
 * Takes connections by IPv6 to containers that have IPv4 only, which the kernel can't translate: one listener for all ports, to which the
 * firewall redirects them. They see this host's address as the client's, and end with this process, as with Docker's proxy.
 */
export class Relay implements Disposable {
  readonly #log: Logger;
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
  readonly #counts = new Counts();
  /** By address, if it is for one only, and port. */
  readonly #targets = new Map<string, PublishedPort>();

  private constructor(log: Logger) {
    this.#log = log;
    this.#server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) =>
      this.#take(socket),
    );
  }

  /** Undefined on a host without IPv6. */
  static async open(log: Logger): Promise<Relay | undefined> {
    const relay = new Relay(log);
    try {
      await new Promise<void>((resolve, reject) => {
        relay.#server.once("error", reject);
        relay.#server.listen({ port: 0, host: "::", ipv6Only: true }, resolve);
      });
      return relay;
    } catch (error) {
      log.debug({ err: error }, "no IPv6 on this host");
      return undefined;
    }
  }

  /** To which the firewall is to redirect. */
  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address ? address.port : 0;
  }

  add(ports: readonly PublishedPort[]): void {
    for (const port of ports)
      if (port.relayed) this.#targets.set(keyOf(port.hostAddress, port.hostPort), port);
  }

  remove(ports: readonly PublishedPort[]): void {
    for (const port of ports) if (port.relayed) this.#targets.delete(keyOf(port.hostAddress, port.hostPort));
  }

  [Symbol.dispose](): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #take(client: net.Socket): void {
    const target = this.#targetOf(client);
    const places = target && this.#counts.take(placesOf(client, target));
    if (!places) {
      client.destroy();
      return;
    }
    client.once("close", () => places[Symbol.dispose]());
    const host = formatIpv4(ipv4FromBytes(target.address));
    const server = net.connect({ host, port: target.port, allowHalfOpen: true });
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(from);
      from.setNoDelay(true);
      from.setKeepAlive(true, KEEPALIVE_MS);
      from.once("timeout", () => from.destroy());
      from.once("end", () => to.setTimeout(HALF_CLOSED_MS));
      from.once("close", () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      from.on("error", (error) => this.#log.debug({ host, err: error }, "a relayed connection"));
    }
    server.setTimeout(CONNECT_MS);
    server.once("connect", () => {
      server.setTimeout(0);
      client.pipe(server);
      server.pipe(client);
    });
  }

  /** Undefined for who comes to this port by itself. */
  #targetOf(client: net.Socket): PublishedPort | undefined {
    const { fd } = (client as unknown as { _handle?: { fd: number } })._handle ?? {};
    if (fd === undefined) return undefined;
    try {
      const bytes = Buffer.from(getsockopt(fd, SOL_IPV6, IP6T_SO_ORIGINAL_DST, SOCKADDR_IN6_BYTES));
      const port = bytes.readUInt16BE(2);
      const address = bytes.subarray(8, 24);
      return this.#targets.get(keyOf(address, port)) ?? this.#targets.get(keyOf(undefined, port));
    } catch (error) {
      this.#log.debug({ err: error }, "a connection that was not redirected");
      return undefined;
    }
  }
}

/** Keys of what a connection is counted with, and how many of each there may be. */
function placesOf(client: net.Socket, { hostAddress, hostPort }: PublishedPort): Map<string, number> {
  const address = parseIpv6(client.remoteAddress?.replace(/%.*$/, "") ?? "") ?? 0n;
  const prefix = ipv6Bytes(address).subarray(0, LINK_PREFIX_BYTES).join(".");
  return new Map([
    ["all", MOST],
    [`port ${keyOf(hostAddress, hostPort)}`, MOST_OF_PORT],
    [`client ${prefix}`, MOST_OF_CLIENT],
  ]);
}

/** How many there are of each key. */
class Counts {
  readonly #counts = new Map<string, number>();

  /** Count one more of each key until it is disposed of; undefined when one has as many as there may be. */
  take(most: ReadonlyMap<string, number>): Disposable | undefined {
    for (const [key, limit] of most) if ((this.#counts.get(key) ?? 0) >= limit) return undefined;
    for (const key of most.keys()) this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    return {
      [Symbol.dispose]: () => {
        for (const key of most.keys()) {
          const left = (this.#counts.get(key) ?? 1) - 1;
          if (left > 0) this.#counts.set(key, left);
          else this.#counts.delete(key);
        }
      },
    };
  }
}

function keyOf(address: Uint8Array | undefined, port: number): string {
  return `${address?.join(".") ?? "any"}/${port}`;
}
