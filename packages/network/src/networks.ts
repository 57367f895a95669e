import { EngineError, isErrno } from "@longshore/errors";
import { deleteLink, RouteSocket } from "@longshore/netlink";
import { attach, detach, dockerBridges, enableForwarding, ensureBridge, reattach } from "./bridge.ts";
import { type DefaultNetworks, defaultBridgeOptions, loadDefaultNetworks } from "./default-networks.ts";
import { Endpoints } from "./endpoints.ts";
import { Firewall } from "./firewall.ts";
import { hostsFile } from "./hosts-file.ts";
import { formatIpv4, formatSubnet, parseIpv4 } from "./ipv4.ts";
import { NetnsPool } from "./netns-pool.ts";
import type { EndpointRecord } from "./records.ts";
import { containerResolvConf, formatResolvConf, readHostResolvConf } from "./resolv-conf.ts";
import { configureInterface, SandboxFiles } from "./sandbox.ts";
import type { Endpoint, NetworkFacts, Networks, NetworksOptions, Sandbox, SandboxRequest } from "./types.ts";

/** Bytes; Docker's default. */
const MTU = 1500;
const INTERFACE = "eth0";

/**
 * Open the networks of an engine, in the network namespace of the calling thread: the default bridge, forwarding and the
 * nftables table are there when this resolves. Sandboxes of before are as they were; see `reconcile`.
 *
 * @throws EngineError `invalid_argument` for a bad bridge name or `bip`, `failed_precondition` when the bridge or the
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
  const networks = await loadDefaultNetworks(options, route);
  const engine = new EngineNetworks({ options, route, firewall, pool, files, endpoints, networks });
  engine.start();
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
  readonly networks: DefaultNetworks;
}

class EngineNetworks implements Networks {
  readonly #options: NetworksOptions;
  readonly #route: RouteSocket;
  readonly #firewall: Firewall;
  readonly #pool: NetnsPool;
  readonly #files: SandboxFiles;
  readonly #endpoints: Endpoints;
  readonly #networks: DefaultNetworks;
  #bridgeIndex = 0;

  constructor(parts: Parts) {
    this.#options = parts.options;
    this.#route = parts.route;
    this.#firewall = parts.firewall;
    this.#pool = parts.pool;
    this.#files = parts.files;
    this.#endpoints = parts.endpoints;
    this.#networks = parts.networks;
  }

  /** Put the bridge, with the interfaces that belong on it, forwarding and the firewall in place. */
  start(): void {
    const { bridge: name, log } = this.#options;
    const { mac, subnet, gateway } = this.#networks.bridge;
    this.#bridgeIndex = ensureBridge(this.#route, { name, mac, subnet, gateway, mtu: MTU });

    const links = this.#route.links();
    const belonging = new Set(this.#endpoints.all().map(({ link }) => link));
    for (const { name, master } of links)
      if (belonging.has(name) && master !== this.#bridgeIndex) reattach(this.#route, name, this.#bridgeIndex);

    // What kept the host from being a router before us must still hold between the interfaces it had then.
    const hardware = links.filter(({ kind, index }) => kind === undefined && index !== 1);
    const guardedLinks = enableForwarding()
      ? this.#firewall.guardedLinks()
      : hardware.map((link) => link.name);
    this.#firewall.rebuild({
      bridges: [{ bridge: name, subnet }],
      foreignBridges: dockerBridges(links, [name]),
      guardedLinks,
    });
    log.info({ bridge: name, subnet: formatSubnet(subnet) }, "default bridge is up");
  }

  list(): NetworkFacts[] {
    const { bridge, host, none } = this.#networks;
    const common = {
      scope: "local",
      internal: false,
      attachable: false,
      enableIpv6: false,
      labels: {},
    } as const;
    const containers = this.#endpoints
      .ofNetwork(bridge.id)
      .map(
        ({ containerId, endpointId, mac, address, prefixLength }) =>
          [containerId, { endpointId, macAddress: mac, ipv4Address: `${address}/${prefixLength}` }] as const,
      );
    const plain = { ...common, ipam: [], options: {}, containers: {} };
    return [
      {
        ...common,
        ...{ id: bridge.id, name: bridge.name, driver: "bridge", created: bridge.created },
        ipam: [{ subnet: formatSubnet(bridge.subnet), gateway: formatIpv4(bridge.gateway) }],
        options: defaultBridgeOptions(this.#options.bridge, MTU),
        containers: Object.fromEntries(containers),
      },
      { ...plain, id: host.id, name: "host", driver: "host", created: host.created },
      { ...plain, id: none.id, name: "none", driver: "null", created: none.created },
    ];
  }

  inspect(nameOrId: string): NetworkFacts {
    const all = this.list();
    const exact = all.find(({ id, name }) => id === nameOrId || name === nameOrId);
    if (exact) return exact;
    const [found, another] = nameOrId === "" ? [] : all.filter(({ id }) => id.startsWith(nameOrId));
    if (another)
      throw new EngineError("invalid_argument", `network ${nameOrId} is ambiguous: several ids start so`);
    if (!found) throw new EngineError("not_found", `network ${nameOrId} not found`);
    return found;
  }

  async createSandbox(request: SandboxRequest): Promise<Sandbox> {
    const { sandboxId, containerId, mode, mac } = request;
    if (!/^[\w][\w.-]*$/.test(sandboxId))
      throw new EngineError("invalid_argument", `invalid sandbox id: ${sandboxId}`);
    if (mode === "none") {
      this.#build(sandboxId);
      return this.#describe(request);
    }
    this.#ensure();
    const endpoint = await this.#endpoints.create(this.#networks.bridge, { sandboxId, containerId, mac });
    try {
      this.#build(sandboxId, endpoint);
    } catch (error) {
      await this.#endpoints.remove([endpoint]);
      throw error;
    }
    return this.#describe(request, endpoint);
  }

  endpoint(sandboxId: string): Endpoint | undefined {
    const [endpoint] = this.#endpoints.ofSandbox(sandboxId);
    return endpoint && endpointFacts(endpoint);
  }

  async releaseSandbox(sandboxId: string): Promise<void> {
    // The interfaces go with the namespace; their names and addresses are not soon used again.
    this.#files.unpin(sandboxId);
    await this.#endpoints.remove(this.#endpoints.ofSandbox(sandboxId));
  }

  async reconcile(liveSandboxIds: readonly string[]): Promise<void> {
    const live = new Set(liveSandboxIds);
    const { bridge, log } = this.#options;
    const pinned = this.#files.list();
    for (const sandboxId of pinned) if (!live.has(sandboxId)) this.#files.unpin(sandboxId);

    const endpoints = this.#endpoints.all();
    const dead = endpoints.filter(({ sandboxId }) => !live.has(sandboxId));
    const kept = new Set(endpoints.filter(({ sandboxId }) => live.has(sandboxId)).map(({ link }) => link));
    // A process may still be in the namespace of a dead sandbox: its interface must not keep the address in use.
    for (const { link } of dead) detach(this.#route, link);
    for (const { name, kind, master } of this.#route.links())
      if (kind === "veth" && master === this.#bridgeIndex && !kept.has(name)) detach(this.#route, name);
    await this.#endpoints.remove(dead);
    for (const sandboxId of live)
      if (!pinned.includes(sandboxId)) log.warn({ sandboxId }, "a live sandbox has no network namespace");
    log.info({ bridge, live: live.size, removed: dead.length }, "networks reconciled");
  }

  async close(): Promise<void> {
    this.#pool[Symbol.dispose]();
    this.#firewall[Symbol.dispose]();
    this.#route[Symbol.dispose]();
  }

  async uninstall(): Promise<void> {
    await this.reconcile([]);
    const { bridge } = this.#options;
    this.#firewall.remove([bridge]);
    if (this.#route.link(bridge)) this.#route.run(deleteLink(bridge));
    await this.close();
  }

  /** Others can take away what we stand on: a bridge deleted by hand, a firewall that was flushed. */
  #ensure(): void {
    const { bridge, log } = this.#options;
    const hasBridge = this.#route.link(bridge)?.index === this.#bridgeIndex;
    if (hasBridge && this.#firewall.isInPlace()) return;
    log.warn({ bridge, hasBridge }, "bridge or firewall rules were gone, they are made anew");
    this.start();
  }

  /** The kernel's part of a sandbox, in one go; on failure nothing is left. */
  #build(sandboxId: string, endpoint?: EndpointRecord): void {
    using netns = this.#pool.take();
    try {
      this.#files.pin(netns, sandboxId);
    } catch (error) {
      if (isErrno(error, "EEXIST"))
        throw new EngineError("already_exists", `sandbox ${sandboxId} already exists`, { cause: error });
      throw error;
    }
    using undo = new DisposableStack();
    undo.defer(() => this.#files.unpin(sandboxId));
    if (endpoint) {
      const { link, mac } = endpoint;
      const { subnet, gateway } = this.#networks.bridge;
      attach(this.#route, {
        ...{ link, mac, mtu: MTU, name: INTERFACE },
        ...{ bridgeIndex: this.#bridgeIndex, netns: netns.fd },
      });
      undo.defer(() => detach(this.#route, link));
      const address = parseIpv4(endpoint.address);
      if (address === undefined) throw new Error(`endpoint with the address ${endpoint.address}`);
      configureInterface(netns, { name: INTERFACE, address, subnet, gateway });
    }
    undo.move();
  }

  #describe({ sandboxId, hostname, aliases, dns }: SandboxRequest, endpoint?: EndpointRecord): Sandbox {
    const names = [hostname, ...aliases];
    return {
      netnsPath: this.#files.path(sandboxId),
      ...(endpoint && { endpoint: endpointFacts(endpoint) }),
      hosts: hostsFile(endpoint ? [{ address: endpoint.address, names }] : []),
      resolvConf: formatResolvConf(containerResolvConf(readHostResolvConf(), dns)),
    };
  }
}

function endpointFacts(endpoint: EndpointRecord): Endpoint {
  const { networkId, endpointId, address, prefixLength, gateway, mac } = endpoint;
  return {
    ...{ networkId, endpointId, gateway },
    ...{ ipAddress: address, prefixLen: prefixLength, macAddress: mac },
  };
}
