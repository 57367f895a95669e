import { DnsServer, RESOLVER_ADDRESS, Resolver, redirection } from "@longshore/dns";
import { NftablesSocket } from "@longshore/netlink";
import type { AttachedNetwork } from "./attached-network.ts";
import type { Endpoints } from "./endpoints.ts";
import { parseIpv6 } from "./ipv6.ts";
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
 * Names of containers on users' networks. Each sandbox has a server in its own namespace, at 127.0.0.11: nobody else reaches it, no firewall
 * of the host is in its way, and it knows who asks.
 */
export class NameService implements Disposable {
  readonly #source: NameSource;
  readonly #resolver: Resolver;
  readonly #server: DnsServer;
  /** Ports by sandbox id. */
  readonly #ports = new Map<string, number>();

  constructor(source: NameSource) {
    this.#source = source;
    const { endpoints } = source;
    this.#resolver = new Resolver({
      get version() {
        return endpoints.version;
      },
      names: (sandboxId, name) => this.#names(sandboxId, name),
      pointer: (sandboxId, address) => this.#pointer(sandboxId, address),
      upstreams: (sandboxId) => this.#upstreams(sandboxId),
    });
    this.#server = new DnsServer(this.#resolver);
  }

  [Symbol.dispose](): void {
    this.#server[Symbol.dispose]();
    this.#resolver[Symbol.dispose]();
  }

  /**
   * Serve a sandbox, unless it is served already.
   * @param within does something in its namespace
   */
  async serve(sandboxId: string, within: (work: () => void) => void): Promise<void> {
    if (this.#ports.has(sandboxId)) return;
    let listening: Promise<{ port: number }> | undefined;
    // Sockets belong to the namespace in which they are asked for.
    within(() => {
      listening = this.#server.listen(RESOLVER_ADDRESS, 0, { client: sandboxId });
    });
    if (!listening) return;
    const { port } = await listening;
    this.#ports.set(sandboxId, port);
    try {
      within(() => {
        using nft = new NftablesSocket();
        nft.commit(redirection(port));
      });
    } catch (error) {
      this.end(sandboxId);
      throw error;
    }
  }

  /** None is no error. */
  end(sandboxId: string): void {
    const port = this.#ports.get(sandboxId);
    if (port !== undefined) this.#server.remove(RESOLVER_ADDRESS, port, { client: sandboxId });
    this.#ports.delete(sandboxId);
  }

  /** Networks of users that a sandbox is on: it may know whoever is on them. */
  #networks(clients: readonly EndpointRecord[]): AttachedNetwork[] {
    const ids = new Set(clients.map(({ networkId }) => networkId));
    return [...ids].flatMap((id) => this.#source.network(id) ?? []);
  }

  #names(sandboxId: string, asked: string): string[] | undefined {
    const clients = this.#source.endpoints.ofSandbox(sandboxId);
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

  #pointer(sandboxId: string, address: string): string | undefined {
    const address6 = parseIpv6(address);
    const isAsked = (one: string) =>
      one === address || (address6 !== undefined && parseIpv6(one) === address6);
    for (const { id, name: networkName } of this.#networks(this.#source.endpoints.ofSandbox(sandboxId))) {
      const found = this.#source.endpoints.ofNetwork(id).find((one) => addressesOf(one).some(isAsked));
      const [name] = found?.names ?? [];
      if (name !== undefined) return `${name}.${networkName}`;
    }
    return undefined;
  }

  /** Who is on internal networks only asks nobody outside. */
  #upstreams(sandboxId: string): readonly string[] {
    const own = this.#source.endpoints.ofSandbox(sandboxId);
    const reaches = own.some(({ networkId }) => this.#source.network(networkId)?.internal !== true);
    if (!reaches) return [];
    const given = own.flatMap(({ upstreams = [] }) => upstreams);
    return given.length > 0 ? [...new Set(given)] : readHostResolvConf().nameservers;
  }
}
