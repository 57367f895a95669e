import fs from "node:fs";
import { DnsServer, Resolver, ROUTE_LOCALNET, redirection } from "@longshore/dns";
import type { Logger } from "@longshore/log";
import { NftablesSocket } from "@longshore/netlink";
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
  network(id: string): BridgeNetwork | undefined;
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

  constructor(source: NameSource, log: Logger) {
    this.#source = source;
    this.#log = log;
    this.#resolver = new Resolver({
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

  #clients(client: string): EndpointRecord[] {
    const { endpoints } = this.#source;
    const own = endpoints.all().filter(({ address }) => address === client);
    // All networks of the container that asks.
    const sandboxes = new Set(own.map(({ sandboxId }) => sandboxId));
    return endpoints.all().filter(({ sandboxId }) => sandboxes.has(sandboxId));
  }

  /** Those whom a client may know: on its own networks of users. */
  #known(client: string): { endpoint: EndpointRecord; network: BridgeNetwork }[] {
    const ids = new Set(this.#clients(client).map(({ networkId }) => networkId));
    return this.#source.endpoints.all().flatMap((endpoint) => {
      const network = ids.has(endpoint.networkId) ? this.#source.network(endpoint.networkId) : undefined;
      return network ? [{ endpoint, network }] : [];
    });
  }

  #names(client: string, name: string): string[] | undefined {
    const found = this.#known(client).filter(({ endpoint: { names = [] }, network }) =>
      names.some((one) => one === name || `${one}.${network.name.toLowerCase()}` === name),
    );
    return found.length > 0 ? found.flatMap(({ endpoint }) => addressesOf(endpoint)) : undefined;
  }

  #pointer(client: string, address: string): string | undefined {
    const address6 = parseIpv6(address);
    const isAsked = (one: string) =>
      one === address || (address6 !== undefined && parseIpv6(one) === address6);
    const found = this.#known(client).find(({ endpoint }) => addressesOf(endpoint).some(isAsked));
    const [name] = found?.endpoint.names ?? [];
    return found && name !== undefined ? `${name}.${found.network.name}` : undefined;
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
