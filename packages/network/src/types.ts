import type { Logger } from "@longshore/log";
import type { Store } from "@longshore/store";
import type { DnsSettings } from "./resolv-conf.ts";
import type { AddressPoolSetting } from "./subnet-choice.ts";

export interface NetworksOptions {
  /** Of the host's current boot: `netns/` in it holds the sandboxes. */
  readonly stateDir: string;
  /** Name of the default bridge, and of the nftables table: up to 15 of letters, digits, `-`, `_` and `.`. */
  readonly bridge: string;
  /** Address and prefix of the default bridge, `10.1.0.1/16`; otherwise the first free one of Docker's pools. */
  readonly bip?: string;
  /** Where subnets come from that nobody named; Docker's default ones when empty. */
  readonly addressPools?: readonly AddressPoolSetting[];
  /** Settings of the default bridge that are not Docker's default ones. */
  readonly defaultBridge?: DefaultBridge;
  /** The default bridge has IPv6, with this subnet, `fd00:1::/64`, or one that is chosen when it is empty. */
  readonly ipv6?: string;
  /** How many containers a bridge of the kernel's takes, before the network has a further one; as many as the kernel can when left out. */
  readonly portsOfBridge?: number;
  /** Whether others are kept from flushing the firewall's rules where the kernel can do that, since 6.9; so when left out. */
  readonly ownsTable?: boolean;
  /** Socket of the message bus at which firewalld is asked to let containers' traffic pass; the system's when left out. */
  readonly messageBus?: string;
  readonly store: Store;
  readonly log: Logger;
}

export interface DefaultBridge {
  /** Whether its containers reach each other. */
  readonly icc?: boolean;
  /** Whether they reach others by the host's address. */
  readonly masquerade?: boolean;
  /** Where ports are published that name no address of the host. */
  readonly hostBinding?: string;
  /** Bytes. */
  readonly mtu?: number;
  /** Address and prefix of its IPv6, `fd00:1::1/64`; the subnet of `ipv6` is then the part that containers get their addresses from. */
  readonly bip6?: string;
  /** Part of its subnet that containers get their addresses from, `10.1.4.0/24`; its whole subnet when there is no `bip`. */
  readonly ipRange?: string;
  /** Where containers send what is for elsewhere, when that isn't the bridge itself; an address of its subnet. */
  readonly router?: string;
  readonly router6?: string;
}

/** A network as the Engine API shows it. */
export interface NetworkFacts {
  /** 64 hexadecimal digits. */
  readonly id: string;
  readonly name: string;
  readonly driver: "bridge" | "host" | "null" | "macvlan" | "ipvlan";
  readonly scope: "local";
  /** RFC 3339. */
  readonly created: string;
  readonly internal: boolean;
  readonly attachable: boolean;
  readonly enableIpv4: boolean;
  readonly enableIpv6: boolean;
  /** Only a configuration for other networks: nobody is on it. */
  readonly configOnly: boolean;
  /** Name of the one that this network has its configuration from; empty for one of its own. */
  readonly configFrom: string;
  readonly ipam: ReadonlyArray<{
    readonly subnet: string;
    readonly gateway: string;
    readonly ipRange?: string;
    readonly auxiliary?: Readonly<Record<string, string>>;
  }>;
  /** The driver's, with Docker's names. */
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  /** By container id. */
  readonly containers: Readonly<Record<string, NetworkMember>>;
}

/** Addresses have their prefix, `172.17.0.2/16`. */
export interface NetworkMember {
  readonly endpointId: string;
  readonly macAddress: string;
  readonly ipv4Address: string;
  readonly ipv6Address?: string;
}

/** Addresses of a network to be made, empty where they are for the engine to choose. */
export interface IpamRequest {
  /** `172.30.0.0/16` */
  readonly subnet: string;
  readonly ipRange: string;
  readonly gateway: string;
  readonly auxiliary: Readonly<Record<string, string>>;
}

/** A network to be made. */
export interface CreateNetwork {
  readonly name: string;
  /** A bridge when left out. */
  readonly driver?: "bridge" | "macvlan" | "ipvlan";
  readonly ipam: IpamRequest;
  /** IPv6 only; `ipam` says nothing then. */
  readonly withoutIpv4?: boolean;
  /** Left out for a network without IPv6. */
  readonly ipam6?: IpamRequest;
  /** Further subnets, of networks that can have more than one of a family: those of macvlan and ipvlan. */
  readonly furtherIpam?: readonly IpamRequest[];
  readonly furtherIpam6?: readonly IpamRequest[];
  readonly internal: boolean;
  readonly attachable: boolean;
  /** The driver's, with Docker's names. */
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  /** Make no network, but a configuration for others. */
  readonly configOnly?: boolean;
  /** Name of a configuration, in the place of addresses, options and labels. */
  readonly configFrom?: string;
}

/** What else there is beside our own firewall rules. */
export interface FirewallFacts {
  /** The host's firewalld lets containers' traffic pass, as it was asked to. */
  readonly isWithFirewalld: boolean;
  /** When it has last started or read its configuration anew; undefined when it hasn't since we know it. */
  readonly reloadedAt: Date | undefined;
}

/** How many addresses of a subnet are in use or reserved, and how many are left for those who name none. */
export interface AddressCount {
  readonly inUse: bigint;
  readonly available: bigint;
}

/** A network that a sandbox is to be on. */
export interface Attachment {
  /** Name or id. */
  readonly network: string;
  /** One of its addresses; the next free one when left out. */
  readonly ipAddress?: string;
  /** The same of IPv6, on networks that have it. */
  readonly ip6Address?: string;
  /** `02:42:ac:11:00:02`; made from the address when left out. */
  readonly mac?: string;
  /** Of its interface, `eth0`; the next that is free when left out. */
  readonly interfaceName?: string;
  /** Further addresses of its interface, of either family: `169.254.7.1`. */
  readonly linkLocal?: readonly string[];
  /** Of several networks, that with the highest has the default route and the published ports; 0 when left out. */
  readonly gatewayPriority?: number;
  /** Settings of the kernel for its interface, `net.ipv4.conf.IFNAME.log_martians`, in which IFNAME stands for its name. */
  readonly sysctls?: Readonly<Record<string, string>>;
  /** What this container alone calls others on the network: their names by its own for them. */
  readonly links?: Readonly<Record<string, string>>;
  /** What others on the network may call it: the container's name first. */
  readonly names?: readonly string[];
}

/** A port of a container that is to be reached by one of the host's. */
export interface PortRequest {
  readonly protocol: "tcp" | "udp" | "sctp";
  readonly containerPort: number;
  /** `127.0.0.1` or `::1`; any of IPv4 for `0.0.0.0`, any of IPv6 for `::`, any at all when empty. */
  readonly hostIp: string;
  /** The first free one of these, both ends included; any free one when left out. */
  readonly hostPorts?: readonly [number, number];
}

export interface PortBinding {
  readonly protocol: "tcp" | "udp" | "sctp";
  readonly containerPort: number;
  readonly hostIp: string;
  readonly hostPort: number;
}

export interface SandboxRequest {
  /** A file name, unique among the sandboxes. */
  readonly sandboxId: string;
  readonly containerId: string;
  /** In the order of its interfaces, `eth0` first; none: it has `lo` only. */
  readonly attachments: readonly Attachment[];
  readonly hostname: string;
  /** Further names in the hosts file. */
  readonly aliases: readonly string[];
  readonly dns?: DnsSettings;
  /** Of its first network that isn't internal; of no use without one. */
  readonly ports?: readonly PortRequest[];
  /** Descriptor of the user namespace whose root has the rights over it; left out: the host's. */
  readonly userNamespace?: number;
}

export interface Endpoint {
  /** Of its network; left out for a bridge. */
  readonly driver?: "macvlan" | "ipvlan";
  readonly networkId: string;
  readonly networkName: string;
  /** `eth0` */
  readonly interfaceName: string;
  readonly endpointId: string;
  /** Empty, with a prefix of 0, on networks without IPv4. */
  readonly ipAddress: string;
  readonly prefixLen: number;
  readonly gateway: string;
  readonly macAddress: string;
  /** On networks with IPv6. */
  readonly ipv6?: { readonly address: string; readonly prefixLen: number; readonly gateway: string };
}

export interface Sandbox {
  /** A file to be joined as a network namespace. */
  readonly netnsPath: string;
  /** One for each attachment. */
  readonly endpoints: readonly Endpoint[];
  readonly ports: readonly PortBinding[];
  /** Text of the container's /etc/hosts and /etc/resolv.conf. */
  readonly hosts: string;
  readonly resolvConf: string;
}

/** The networks of one engine. Calls for different sandboxes may run side by side. */
export interface Networks {
  list(): NetworkFacts[];
  /**
   * @param nameOrId the name, or the id or its start
   * @throws EngineError `not_found`, or `invalid_argument` when several ids start so
   */
  inspect(nameOrId: string): NetworkFacts;
  firewall(): FirewallFacts;
  /** What is left of a network's addresses, by subnet, as `172.17.0.0/16`; of none for a network without addresses or interfaces. */
  addressCounts(id: string): ReadonlyMap<string, AddressCount>;
  /**
   * Make a bridge network.
   *
   * @throws EngineError in Docker's words: `conflict` for a name that is taken, `invalid_argument` for addresses and options that make no
   *   sense, `permission_denied` for a subnet in use
   */
  create(request: CreateNetwork): Promise<NetworkFacts>;
  /**
   * Remove a network of a user's.
   *
   * @throws EngineError `not_found`, `permission_denied` for a predefined one or one in use
   */
  remove(nameOrId: string): Promise<NetworkFacts>;
  /**
   * Make a network namespace with an interface for each attachment. On failure nothing is left.
   *
   * @throws EngineError `already_exists` for a sandbox id in use, `resource_exhausted` when no address is free, `not_found`
   */
  createSandbox(request: SandboxRequest): Promise<Sandbox>;
  /** Put a sandbox that there is on one more network. */
  connect(
    sandbox: Pick<SandboxRequest, "sandboxId" | "containerId" | "dns">,
    attachment: Attachment,
  ): Promise<Endpoint>;
  /** Others on a network call a sandbox otherwise from now on. */
  rename(sandboxId: string, networkId: string, names: readonly string[]): Promise<void>;
  /** Take a sandbox off a network. */
  disconnect(sandboxId: string, networkId: string): Promise<void>;
  /** The text of its /etc/resolv.conf on the networks that it is on now. */
  resolvConf(sandboxId: string, dns?: DnsSettings): string;
  /** The sandbox that a process is in; undefined for one in another network namespace. */
  sandboxOf(pid: number): string | undefined;
  /** What is published of a sandbox, also after a restart. */
  ports(sandboxId: string): readonly PortBinding[];
  /** What is known of a sandbox's endpoints, also after a restart. */
  endpoints(sandboxId: string): Endpoint[];
  /** Remove a sandbox, its interfaces and its address; one that is not there is no error. */
  releaseSandbox(sandboxId: string): Promise<void>;
  /**
   * Remove every sandbox but these, whole or half-made: after a restart. The others are put back on the bridge if they came off, and are
   * wholly on a network or not at all; `endpoints` tells.
   */
  reconcile(liveSandboxIds: readonly string[]): Promise<void>;
  /** Let go of what this process holds; the networks and sandboxes go on. */
  close(): Promise<void>;
  /** Remove all sandboxes, the bridge and the nftables table, and close. The host goes on forwarding. */
  uninstall(): Promise<void>;
}
