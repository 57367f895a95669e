import { type Collection, collection, type Store } from "@longshore/store";
import type { CreateNetwork, PortBinding } from "./types.ts";

/** A network as it is kept; key: its name. */
export interface NetworkRecord {
  /** 64 hexadecimal digits, the same for the network's whole life. */
  readonly id: string;
  readonly driver: "bridge" | "host" | "null" | "macvlan" | "ipvlan";
  /** RFC 3339. */
  readonly created: string;
  /** What only bridge networks have. */
  readonly bridge?: {
    /** `172.17.0.0/16` */
    readonly subnet: string;
    readonly gateway: string;
    readonly mac: string;
    /** `fd00::/64`; only of networks with IPv6. */
    readonly ipv6?: { readonly subnet: string; readonly gateway: string };
  };
  /** What only configurations for other networks have: what those are asked for with. */
  readonly template?: Omit<CreateNetwork, "name" | "configOnly" | "configFrom">;
  /** What only macvlan and ipvlan networks have. */
  readonly linked?: {
    /** Empty, as is the gateway, for one without IPv4. */
    readonly subnet: string;
    readonly gateway: string;
    readonly ipv6?: { readonly subnet: string; readonly gateway: string };
    /** Further subnets. */
    readonly further?: readonly SubnetRecord[];
    readonly further6?: readonly SubnetRecord[];
    /** The interface below was made for the network, and goes with it. */
    readonly ownsParent: boolean;
  };
  /** What only networks of users have. */
  readonly user?: {
    /** Name of the kernel's bridge, or of the interface below those of containers. */
    readonly link: string;
    /** Part of the subnet that containers get their addresses from. */
    readonly ipRange?: string;
    readonly ipRange6?: string;
    /** Addresses that others use, by their names. */
    readonly auxiliary: Readonly<Record<string, string>>;
    readonly internal: boolean;
    readonly attachable: boolean;
    readonly options: Readonly<Record<string, string>>;
    readonly labels: Readonly<Record<string, string>>;
    /** The configuration that it was made from. */
    readonly configFrom?: string;
  };
}

/** A subnet of either family, and the part of it that addresses come from. */
export interface SubnetRecord {
  readonly subnet: string;
  readonly gateway: string;
  readonly ipRange?: string;
}

/** An address in use and the interface that has it; key: `<network id>/<address>`, so that it can't be given twice. */
export interface EndpointRecord {
  readonly endpointId: string;
  readonly networkId: string;
  readonly sandboxId: string;
  readonly containerId: string;
  readonly address: string;
  readonly prefixLength: number;
  readonly gateway: string;
  /** On networks with IPv6. */
  readonly ipv6?: { readonly address: string; readonly prefixLength: number; readonly gateway: string };
  readonly mac: string;
  /** The host's end of the veth pair; empty where there is none. */
  readonly link: string;
  /** The other one; `eth0` in records of old. */
  readonly interfaceName?: string;
  /** What others on the network may call it, in lower case; the first is the container's own name. */
  readonly names?: readonly string[];
  /** Of several networks, that with the highest has the default route; 0 when nothing is said. */
  readonly gatewayPriority?: number;
  /** What its container alone calls others: their names by its own for them, in lower case. */
  readonly links?: Readonly<Record<string, string>>;
  /** Whom its container wants asked for other names; the host's servers when there are none. */
  readonly upstreams?: readonly string[];
}

/** What is published of a sandbox; key: its id. */
export interface PortsRecord {
  readonly bindings: readonly PortBinding[];
}

export interface NetworkRecords {
  readonly ports: Collection<PortsRecord>;
  readonly networks: Collection<NetworkRecord>;
  readonly endpoints: Collection<EndpointRecord>;
}

export function networkRecords(store: Store): NetworkRecords {
  return {
    networks: collection(store, "networks"),
    endpoints: collection(store, "endpoints"),
    ports: collection(store, "ports"),
  };
}

export function endpointKey({
  networkId,
  address,
  ipv6,
}: Pick<EndpointRecord, "networkId" | "address" | "ipv6">): string {
  return `${networkId}/${address || ipv6?.address}`;
}
