import fs from "node:fs";
import { DnsServer, RESOLVER_ADDRESS, Resolver, ROUTE_LOCALNET, redirection } from "@longshore/dns";
import type { Logger } from "@longshore/log";
import { NftablesSocket } from "@longshore/netlink";
import type { AttachedNetwork } from "./attached-network.ts";
import type { BridgeNetwork } from "./bridge-network.ts";
import type { Endpoints } from "./endpoints.ts";
import { formatIpv4 } from "./ipv4.ts";
import { parseIpv6 } from "./ipv6.ts";
import { inNetns } from "./netns.ts";
import { addressesOf } from "./placed.ts";
import type { EndpointRecord } from "./records.ts";
import { readHostResolvConf } from "./resolv-conf.ts";

/** What names are looked up in. */
export interface NameSource {
  readonly endpoints: Endpoints;
  /** Networks of users by their id. */
  network(id: string): AttachedNetwork | undefined;
}

/**
 * Names of containers on users' networks: one server at each network's gateway, to which 127.0.0.11 of each container leads by rules
 * of the kernel in its own namespace.
 */
export class NameService implements Disposable {
  readonly #source: NameSource;
  readonly #log: Logger;
  readonly #resolver: Resolver;
  readonly #server: DnsServer;
  /** By network id. */
  readonly #ports = new Map<string, number>();
  /** Where sandboxes are served that have a server of their own. */
  readonly #within = new Map<string, { readonly address: string; readonly port: number }>();

  constructor(source: NameSource, log: Logger) {
    this.#source = source;
    this.#log = log;
    const { endpoints } = source;
    this.#resolver = new Resolver({
      get version() {
        return endpoints.version;
      },
      names: (client, name) => this.#names(client, name),
      pointer: (client, address) => this.#pointer(client, address),
      upstreams: (client) => this.#upstreams(client),
    });
    this.#server = new DnsServer(this.#resolver);
  }

  [Symbol.dispose](): void {
    this.#server[Symbol.dispose]();
    this.#resolver[Symbol.dispose]();
  }

  /**
   * Serve a network whose bridge is up.
   * @param port where its containers ask; any free one when there are none yet, or when another program has taken it
   * @returns where they must ask now
   */
  async serve(network: BridgeNetwork, port: number | undefined): Promise<number> {
    const address = formatIpv4(network.gateway);
    const listening = await this.#server.listen(address, port ?? 0).catch((error: unknown) => {
      if (port === undefined) throw error;
      this.#log.warn({ network: network.name, port, err: error }, "names are served at another port");
      return this.#server.listen(address, 0);
    });
    this.#ports.set(network.id, listening.port);
    return listening.port;
  }

  end({ id, gateway }: BridgeNetwork): void {
    const port = this.#ports.get(id);
    if (port !== undefined) this.#server.remove(formatIpv4(gateway), port);
    this.#ports.delete(id);
  }

  /** Let 127.0.0.11 in a namespace lead to the server of a network. Whatever it led to before is forgotten. */
  redirect(netns: number, { id, gateway }: BridgeNetwork): void {
    const port = this.#ports.get(id);
    if (port === undefined) return;
    inNetns(netns, () => {
      fs.writeFileSync(ROUTE_LOCALNET, "1");
      using nft = new NftablesSocket();
      nft.commit(redirection({ address: formatIpv4(gateway), port }));
    });
  }

  /**
   * Serve a sandbox in its own namespace, as nobody on its networks reaches the host. What served it before ends.
   * @param within does something in its namespace
   * @param address its own, by which it is known
   */
  async serveWithin(sandboxId: string, address: string, within: (work: () => void) => void): Promise<void> {
    this.endWithin(sandboxId);
    let listening: Promise<{ port: number }> | undefined;
    // Sockets belong to the namespace in which they are asked for.
    within(() => {
      listening = this.#server.listen(RESOLVER_ADDRESS, 0, { client: address });
    });
    if (!listening) return;
    const { port } = await listening;
    this.#within.set(sandboxId, { address, port });
    within(() => {
      using nft = new NftablesSocket();
      nft.commit(redirection({ address: RESOLVER_ADDRESS, port }));
    });
  }

  /** None is no error. */
  endWithin(sandboxId: string): void {
    const known = this.#within.get(sandboxId);
    if (known) this.#server.remove(RESOLVER_ADDRESS, known.port, { client: known.address });
    this.#within.delete(sandboxId);
  }

  /** The endpoints of the container that asks, on all of its networks. */
  #clients(client: string): EndpointRecord[] {
    const { endpoints } = this.#source;
    const sandboxes = new Set(endpoints.withAddress(client).map(({ sandboxId }) => sandboxId));
    return [...sandboxes].flatMap((sandboxId) => endpoints.ofSandbox(sandboxId));
  }

  /** Networks of users that a client is on: it may know whoever is on them. */
  #networks(clients: readonly EndpointRecord[]): AttachedNetwork[] {
    const ids = new Set(clients.map(({ networkId }) => networkId));
    return [...ids].flatMap((id) => this.#source.network(id) ?? []);
  }

  #names(client: string, asked: string): string[] | undefined {
    const clients = this.#clients(client);
    const linked = clients.find(({ links }) => links && Object.hasOwn(links, asked));
    const name = linked?.links?.[asked] ?? asked;
    const found = this.#networks(clients).flatMap((network) => {
      const tail = `.${network.name.toLowerCase()}`;
      const named = this.#source.endpoints.named(network.id, name);
      if (!name.endsWith(tail)) return named;
      return [...named, ...this.#source.endpoints.named(network.id, name.slice(0, -tail.length))];
    });
    return found.length > 0 ? [...new Set(found)].flatMap(addressesOf) : undefined;
  }

  #pointer(client: string, address: string): string | undefined {
    const address6 = parseIpv6(address);
    const isAsked = (one: string) =>
      one === address || (address6 !== undefined && parseIpv6(one) === address6);
    for (const { id, name: networkName } of this.#networks(this.#clients(client))) {
      const found = this.#source.endpoints.ofNetwork(id).find((one) => addressesOf(one).some(isAsked));
      const [name] = found?.names ?? [];
      if (name !== undefined) return `${name}.${networkName}`;
    }
    return undefined;
  }

  /** Who is on internal networks only asks nobody outside. */
  #upstreams(client: string): readonly string[] {
    const own = this.#clients(client);
    const reaches = own.some(({ networkId }) => this.#source.network(networkId)?.internal !== true);
    if (!reaches) return [];
    const given = own.flatMap(({ upstreams = [] }) => upstreams);
    return given.length > 0 ? [...new Set(given)] : readHostResolvConf().nameservers;
  }
}
