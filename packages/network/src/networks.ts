import { EngineError } from "@longshore/errors";
import { deleteLink, RouteSocket } from "@longshore/netlink";
import { detach, dockerBridges, enableForwarding, ensureBridge, reattach } from "./bridge.ts";
import { type BridgeNetwork, bridgeNetwork, networkFacts } from "./bridge-network.ts";
import { loadNetworks, newMac, PREDEFINED, subnetsInUse } from "./default-networks.ts";
import { Endpoints } from "./endpoints.ts";
import { Firewall } from "./firewall.ts";
import { formatSubnet, parseIpv4 } from "./ipv4.ts";
import { NameService } from "./name-service.ts";
import { NetnsPool } from "./netns-pool.ts";
import {
  endpointFacts,
  etcTexts,
  freeInterface,
  interfaceNumber,
  interfaceOf,
  lowerCase,
  type Placed,
  portsAt,
  wantedAddress,
} from "./placed.ts";
import { PublishedPorts } from "./published-ports.ts";
import { type EndpointRecord, type NetworkRecord, networkRecords } from "./records.ts";
import type { DnsSettings } from "./resolv-conf.ts";
import type { PublishedPort } from "./ruleset.ts";
import { routeBy, SandboxFiles } from "./sandbox.ts";
import { SandboxBuilder } from "./sandbox-builder.ts";
import type {
  Attachment,
  CreateNetwork,
  Endpoint,
  NetworkFacts,
  Networks,
  NetworksOptions,
  PortBinding,
  Sandbox,
  SandboxRequest,
} from "./types.ts";
import { planNetwork } from "./user-networks.ts";

/**
 * Open the networks of an engine, in the network namespace of the calling thread: the bridges, forwarding and the
 * nftables table are there when this resolves. Sandboxes of before are as they were; see `reconcile`.
 *
 * @throws EngineError `invalid_argument` for a bad bridge name or `bip`, `failed_precondition` when a bridge or the
 *   table can't be made
 */
export async function openNetworks(options: NetworksOptions): Promise<Networks> {
  if (!/^[a-zA-Z][\w.-]{0,14}$/.test(options.bridge))
    throw new EngineError("invalid_argument", `invalid bridge name: ${options.bridge}`);
  using undo = new DisposableStack();
  const route = undo.use(new RouteSocket());
  const firewall = undo.use(new Firewall(options.bridge, options.log));
  const pool = undo.use(new NetnsPool(options.log));
  const files = new SandboxFiles(options.stateDir);
  const endpoints = await Endpoints.load(options.store);
  const { bridge, host, none, users } = await loadNetworks(options, route);
  const published = undo.use(await PublishedPorts.load(options.store, options.log));
  const bridges = new Map([bridge, ...users].map((network) => [network.name, network]));
  const engine = new EngineNetworks({
    options,
    route,
    firewall,
    pool,
    files,
    endpoints,
    bridges,
    host,
    none,
    published,
  });
  engine.start();
  await engine.serveNames();
  undo.move();
  return engine;
}

interface Parts {
  readonly options: NetworksOptions;
  readonly route: RouteSocket;
  readonly firewall: Firewall;
  readonly pool: NetnsPool;
  readonly files: SandboxFiles;
  readonly endpoints: Endpoints;
  /** By name. */
  readonly bridges: Map<string, BridgeNetwork>;
  readonly host: NetworkRecord;
  readonly none: NetworkRecord;
  readonly published: PublishedPorts;
}

class EngineNetworks implements Networks {
  readonly #parts: Parts;
  /** Of the kernel's bridges, by network id. */
  readonly #indexes = new Map<string, number>();
  readonly #names: NameService;
  readonly #builder: SandboxBuilder;
  #changing: Promise<unknown> = Promise.resolve();

  constructor(parts: Parts) {
    this.#parts = parts;
    const network = (id: string) => this.#userNetworks().find((one) => one.id === id);
    const { pool, files, route } = parts;
    this.#builder = new SandboxBuilder({ pool, files, route, indexes: this.#indexes });
    this.#names = new NameService({ endpoints: parts.endpoints, network }, parts.options.log);
  }

  #userNetworks(): BridgeNetwork[] {
    return [...this.#parts.bridges.values()].filter(({ name }) => !PREDEFINED.includes(name));
  }

  /** Answer for names on all networks of users. */
  async serveNames(): Promise<void> {
    for (const network of this.#userNetworks()) await this.#serve(network);
  }

  /** Containers that ask elsewhere are told where to ask. */
  async #serve(network: BridgeNetwork): Promise<void> {
    const { options, bridges, endpoints, files } = this.#parts;
    const dnsPort = await this.#names.serve(network, network.dnsPort);
    if (dnsPort === network.dnsPort) return;
    const { networks } = networkRecords(options.store);
    const record = await networks.get(network.name);
    if (record?.user) {
      await options.store.commit([
        networks.put(network.name, { ...record, user: { ...record.user, dnsPort } }),
      ]);
    }
    bridges.set(network.name, { ...network, dnsPort });
    for (const { sandboxId } of endpoints.ofNetwork(network.id)) {
      try {
        files.within(sandboxId, ({ fd }) => this.#redirect(fd, this.#placedOf(sandboxId)));
      } catch (error) {
        options.log.warn({ sandboxId, err: error }, "a container doesn't find its resolver");
      }
    }
  }

  /** Let a sandbox ask the first of its networks that has names. */
  #redirect(netns: number, placed: readonly Placed[]): void {
    const first = placed.find(({ network }) => !PREDEFINED.includes(network.name));
    if (first) this.#names.redirect(netns, first.network);
  }

  /** Put the bridges, with the interfaces that belong on them, forwarding and the firewall in place. */
  start(): void {
    const { route, bridges, endpoints, options } = this.#parts;
    for (const network of bridges.values()) {
      const index = this.#raise(network);
      const belonging = new Set(endpoints.ofNetwork(network.id).map(({ link }) => link));
      for (const { name, master } of route.links())
        if (belonging.has(name) && master !== index) reattach(route, name, index);
    }
    this.#rebuildFirewall();
    const subnet = formatSubnet(this.#default.subnet);
    options.log.info({ bridge: options.bridge, subnet, networks: bridges.size }, "bridges are up");
  }

  get #default(): BridgeNetwork {
    return this.#bridgeNamed("bridge");
  }

  #bridgeNamed(name: string): BridgeNetwork {
    const network = this.#parts.bridges.get(name);
    if (!network) throw new EngineError("not_found", `network ${name} not found`);
    return network;
  }

  #raise({ id, link: name, mac, subnet, gateway, mtu }: BridgeNetwork): number {
    const index = ensureBridge(this.#parts.route, { name, mac, subnet, gateway, mtu });
    this.#indexes.set(id, index);
    return index;
  }

  #rebuildFirewall(): void {
    const { route, firewall, bridges } = this.#parts;
    const links = route.links();
    // What kept the host from being a router before us must still hold between the interfaces it had then.
    const hardware = links.filter(({ kind, index }) => kind === undefined && index !== 1);
    const guardedLinks = enableForwarding() ? firewall.guardedLinks() : hardware.map((link) => link.name);
    const own = [...bridges.values()];
    firewall.rebuild({
      bridges: own.map(({ link, subnet, icc, masquerade, internal }) => ({
        ...{ bridge: link, subnet, icc, masquerade, internal },
      })),
      foreignBridges: dockerBridges(
        links,
        own.map(({ link }) => link),
      ),
      guardedLinks,
      ports: this.#parts.published.sandboxes().flatMap((sandboxId) => this.#targets(sandboxId)),
    });
  }

  /** Where the published ports of a sandbox lead now: to its first network that isn't internal. */
  #targets(sandboxId: string): PublishedPort[] {
    const placed = this.#placedOf(sandboxId).find(({ network }) => !network.internal);
    const address = placed && parseIpv4(placed.endpoint.address);
    if (address === undefined) return [];
    return this.#parts.published.of(sandboxId).map(({ protocol, containerPort, hostIp, hostPort }) => ({
      ...{ protocol, hostPort, hostAddress: parseIpv4(hostIp) ?? 0, address, port: containerPort },
    }));
  }

  /** Do what may change where ports lead, and let them lead there. */
  async #repointing(sandboxId: string, change: () => Promise<void>): Promise<void> {
    const before = this.#targets(sandboxId);
    await change();
    const after = this.#targets(sandboxId);
    if (before[0]?.address === after[0]?.address) return;
    this.#parts.firewall.changePorts(before, "delete");
    this.#parts.firewall.changePorts(after, "add");
  }

  list(): NetworkFacts[] {
    const { bridges, endpoints, host, none } = this.#parts;
    const plain = {
      scope: "local" as const,
      ...{ internal: false, attachable: false, enableIpv6: false, labels: {} },
      ...{ ipam: [], options: {}, containers: {} },
    };
    return [
      ...[...bridges.values()].map((network) => networkFacts(network, endpoints.ofNetwork(network.id))),
      { ...plain, id: host.id, name: "host", driver: "host", created: host.created },
      { ...plain, id: none.id, name: "none", driver: "null", created: none.created },
    ];
  }

  inspect(nameOrId: string): NetworkFacts {
    const all = this.list();
    const exact = all.find(({ id }) => id === nameOrId) ?? all.find(({ name }) => name === nameOrId);
    if (exact) return exact;
    const [found, another] = nameOrId === "" ? [] : all.filter(({ id }) => id.startsWith(nameOrId));
    if (another)
      throw new EngineError("invalid_argument", `network ${nameOrId} is ambiguous: several ids start so`);
    if (!found) throw new EngineError("not_found", `network ${nameOrId} not found`);
    return found;
  }

  create(request: CreateNetwork): Promise<NetworkFacts> {
    return this.#oneAtATime(async () => {
      const { route, bridges, options } = this.#parts;
      const { name } = request;
      if (bridges.has(name) || PREDEFINED.includes(name))
        throw new EngineError("conflict", `network with name ${name} already exists`);
      const record = planNetwork(request, this.#subnetsInUse(), newMac());
      const network = bridgeNetwork(name, record, { link: "", options: {} });
      if (route.link(network.link) || [...bridges.values()].some(({ link }) => link === network.link)) {
        throw new EngineError(
          "permission_denied",
          `cannot create network ${network.id} (${network.link}): conflicts with an existing interface`,
        );
      }
      const { networks } = networkRecords(options.store);
      // Recorded first: what a daemon that is killed here has made is found by its record.
      await options.store.commit([networks.put(name, record)], [networks.absent(name)]);
      bridges.set(name, network);
      try {
        this.#raise(network);
        this.#rebuildFirewall();
        await this.#serve(network);
      } catch (error) {
        await this.#forget(network);
        throw error;
      }
      return networkFacts(network, []);
    });
  }

  remove(nameOrId: string): Promise<NetworkFacts> {
    return this.#oneAtATime(async () => {
      const { endpoints } = this.#parts;
      const facts = this.inspect(nameOrId);
      if (PREDEFINED.includes(facts.name)) {
        throw new EngineError(
          "permission_denied",
          `${facts.name} is a pre-defined network and cannot be removed`,
        );
      }
      const network = this.#bridgeNamed(facts.name);
      if (endpoints.ofNetwork(network.id).length > 0) {
        throw new EngineError(
          "permission_denied",
          `error while removing network: network ${network.name} id ${network.id} has active endpoints`,
        );
      }
      await this.#forget(network);
      return facts;
    });
  }

  /** Take a network away: the firewall's part first, its record last. */
  async #forget(network: BridgeNetwork): Promise<void> {
    const { route, bridges, endpoints, options } = this.#parts;
    const { networks } = networkRecords(options.store);
    bridges.delete(network.name);
    this.#names.end(network);
    this.#rebuildFirewall();
    this.#parts.firewall.withdraw(network.link);
    this.#indexes.delete(network.id);
    endpoints.forget(network.id);
    if (route.link(network.link)) route.run(deleteLink(network.link));
    await options.store.commit([networks.delete(network.name)]);
  }

  #subnetsInUse() {
    return [
      ...subnetsInUse(this.#parts.route),
      ...[...this.#parts.bridges.values()].map(({ subnet }) => subnet),
    ];
  }

  /** Two networks in the making must not choose the same subnet. */
  #oneAtATime<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#changing.then(work);
    this.#changing = result.catch(() => {});
    return result;
  }

  async createSandbox(request: SandboxRequest): Promise<Sandbox> {
    const { sandboxId, containerId, attachments } = request;
    if (!/^[\w][\w.-]*$/.test(sandboxId))
      throw new EngineError("invalid_argument", `invalid sandbox id: ${sandboxId}`);
    if (attachments.length > 0) this.#ensure();
    const { published, firewall, endpoints } = this.#parts;
    const placed: Placed[] = [];
    let ports: readonly PortBinding[] = [];
    try {
      for (const [position, attachment] of attachments.entries())
        placed.push(
          await this.#place({ sandboxId, containerId, dns: request.dns }, attachment, `eth${position}`),
        );
      if (placed.some(({ network }) => !network.internal))
        ports = await published.publish(sandboxId, portsAt(placed, request.ports ?? []));
      this.#builder.build(sandboxId, placed, (netns) => this.#redirect(netns, placed));
      firewall.changePorts(this.#targets(sandboxId), "add");
    } catch (error) {
      await published.withdraw(sandboxId);
      await endpoints.remove(placed.map(({ endpoint }) => endpoint));
      throw error;
    }
    return {
      netnsPath: this.#parts.files.path(sandboxId),
      endpoints: placed.map(endpointFacts),
      ...etcTexts(request, placed),
      ports,
    };
  }

  ports(sandboxId: string): readonly PortBinding[] {
    return this.#parts.published.of(sandboxId);
  }

  endpoints(sandboxId: string): Endpoint[] {
    return this.#placedOf(sandboxId).map(endpointFacts);
  }

  async connect(
    { sandboxId, containerId, dns }: Pick<SandboxRequest, "sandboxId" | "containerId" | "dns">,
    attachment: Attachment,
  ): Promise<Endpoint> {
    this.#ensure();
    const present = this.#placedOf(sandboxId);
    const placed = await this.#place({ sandboxId, containerId, dns }, attachment, freeInterface(present));
    try {
      const takesRoute = !placed.network.internal && present.every(({ network }) => network.internal);
      this.#parts.files.within(sandboxId, (netns) => {
        this.#builder.plug(netns, placed, takesRoute);
        this.#redirect(netns.fd, [...present, placed]);
      });
    } catch (error) {
      await this.#parts.endpoints.remove([placed.endpoint]);
      throw error;
    }
    // Ports that led nowhere may have somewhere to lead to now.
    if (present.every(({ network }) => network.internal))
      this.#parts.firewall.changePorts(this.#targets(sandboxId), "add");
    return endpointFacts(placed);
  }

  async disconnect(sandboxId: string, networkId: string): Promise<void> {
    const { route, endpoints, files } = this.#parts;
    const present = this.#placedOf(sandboxId);
    const gone = present.find(({ network }) => network.id === networkId);
    if (!gone) throw new EngineError("not_found", `sandbox ${sandboxId} is not on network ${networkId}`);
    await this.#repointing(sandboxId, async () => {
      detach(route, gone.endpoint.link);
      await endpoints.remove([gone.endpoint]);
    });
    // Its default route went with it; another network of the sandbox's takes over.
    const rest = present.filter((one) => one !== gone && !one.network.internal);
    const routed = present.find(({ network }) => !network.internal);
    const [next] = rest;
    files.within(sandboxId, (netns) => {
      if (routed === gone && next) routeBy(netns.route, interfaceOf(next.endpoint), next.network.gateway);
      this.#redirect(
        netns.fd,
        present.filter((one) => one !== gone),
      );
    });
  }

  async rename(sandboxId: string, networkId: string, names: readonly string[]): Promise<void> {
    const { endpoints } = this.#parts;
    const endpoint = endpoints.ofSandbox(sandboxId).find((one) => one.networkId === networkId);
    if (endpoint) await endpoints.rename(endpoint, lowerCase(names));
  }

  async releaseSandbox(sandboxId: string): Promise<void> {
    const { files, endpoints, published, firewall } = this.#parts;
    if (published.of(sandboxId).length > 0) {
      firewall.changePorts(this.#targets(sandboxId), "delete");
      await published.withdraw(sandboxId);
    }
    // The interfaces go with the namespace; their names and addresses are not soon used again.
    files.unpin(sandboxId);
    await endpoints.remove(endpoints.ofSandbox(sandboxId));
  }

  async reconcile(liveSandboxIds: readonly string[]): Promise<void> {
    const live = new Set(liveSandboxIds);
    const { route, files, endpoints, bridges, published, firewall } = this.#parts;
    const { bridge, log } = this.#parts.options;
    const pinned = files.list();
    for (const sandboxId of pinned) if (!live.has(sandboxId)) files.unpin(sandboxId);

    for (const sandboxId of published.sandboxes().filter((id) => !live.has(id))) {
      firewall.changePorts(this.#targets(sandboxId), "delete");
      await published.withdraw(sandboxId);
    }

    const networkIds = new Set([...bridges.values()].map(({ id }) => id));
    const all = endpoints.all();
    const isLive = ({ sandboxId, networkId }: EndpointRecord) =>
      live.has(sandboxId) && networkIds.has(networkId);
    const dead = all.filter((endpoint) => !isLive(endpoint));
    const kept = new Set(all.filter(isLive).map(({ link }) => link));
    // A process may still be in the namespace of a dead sandbox: its interface must not keep the address in use.
    for (const { link } of dead) detach(route, link);
    const own = new Set(this.#indexes.values());
    for (const { name, kind, master } of route.links())
      if (kind === "veth" && own.has(master ?? 0) && !kept.has(name)) detach(route, name);
    await endpoints.remove(dead);
    for (const sandboxId of live)
      if (!pinned.includes(sandboxId)) log.warn({ sandboxId }, "a live sandbox has no network namespace");
    log.info({ bridge, live: live.size, removed: dead.length }, "networks reconciled");
  }

  async close(): Promise<void> {
    const { pool, firewall, route, published } = this.#parts;
    this.#names[Symbol.dispose]();
    published[Symbol.dispose]();
    pool[Symbol.dispose]();
    firewall[Symbol.dispose]();
    route[Symbol.dispose]();
  }

  async uninstall(): Promise<void> {
    await this.reconcile([]);
    const { route, firewall, bridges } = this.#parts;
    const links = [...bridges.values()].map(({ link }) => link);
    firewall.remove(links);
    for (const link of links) if (route.link(link)) route.run(deleteLink(link));
    await this.close();
  }

  /** Others can take away what we stand on: a bridge deleted by hand, a firewall that was flushed. */
  #ensure(): void {
    const { route, firewall, bridges, options } = this.#parts;
    const missing = [...bridges.values()].filter(
      ({ id, link }) => route.link(link)?.index !== this.#indexes.get(id),
    );
    if (missing.length === 0 && firewall.isInPlace()) return;
    const names = missing.map(({ name }) => name);
    options.log.warn({ networks: names }, "bridges or firewall rules were gone, they are made anew");
    this.start();
  }

  async #place(
    {
      sandboxId,
      containerId,
      dns,
    }: Pick<SandboxRequest, "sandboxId" | "containerId"> & { dns: DnsSettings | undefined },
    { network: name, ipAddress, mac, names = [] }: Attachment,
    interfaceName: string,
  ): Promise<Placed> {
    const facts = this.inspect(name);
    if (facts.driver !== "bridge")
      throw new EngineError(
        "invalid_argument",
        `network ${name} of driver ${facts.driver} has no interfaces`,
      );
    const network = this.#bridgeNamed(facts.name);
    const address = ipAddress === undefined ? undefined : wantedAddress(network, ipAddress);
    const endpoint = await this.#parts.endpoints.create(network, {
      ...{ sandboxId, containerId, mac, address, interfaceName },
      ...{ names: lowerCase(names), upstreams: dns?.nameservers ?? [] },
    });
    return { network, endpoint };
  }

  #placedOf(sandboxId: string): Placed[] {
    const byId = new Map([...this.#parts.bridges.values()].map((network) => [network.id, network]));
    return this.#parts.endpoints
      .ofSandbox(sandboxId)
      .flatMap((endpoint) => {
        const network = byId.get(endpoint.networkId);
        return network ? [{ network, endpoint }] : [];
      })
      .sort((a, b) => interfaceNumber(a.endpoint) - interfaceNumber(b.endpoint));
  }
}
