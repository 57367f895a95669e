import net from "node:net";
import type { Logger } from "@longshore/log";
import { getsockopt } from "@longshore/syscalls";
import { formatIpv4, ipv4FromBytes } from "./ipv4.ts";
import type { PublishedPort } from "./ruleset.ts";

const SOL_IPV6 = 41;
/** linux/netfilter_ipv6/ip6_tables.h: where a connection went before it was redirected, as a `struct sockaddr_in6`. */
const IP6T_SO_ORIGINAL_DST = 80;
const SOCKADDR_IN6_BYTES = 28;

/**
 * Takes connections by IPv6 to containers that have IPv4 only, which the kernel can't translate: one listener for all ports, to which the
 * firewall redirects them. They see this host's address as the client's, and end with this process, as with Docker's proxy.
 */
export class Relay implements Disposable {
  readonly #log: Logger;
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
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
    if (!target) {
      client.destroy();
      return;
    }
    const host = formatIpv4(ipv4FromBytes(target.address));
    const server = net.connect({ host, port: target.port, allowHalfOpen: true });
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(from);
      from.setNoDelay(true);
      from.once("close", () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      from.on("error", (error) => this.#log.debug({ host, err: error }, "a relayed connection"));
    }
    server.once("connect", () => {
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

function keyOf(address: Uint8Array | undefined, port: number): string {
  return `${address?.join(".") ?? "any"}/${port}`;
}
