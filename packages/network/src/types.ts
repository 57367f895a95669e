import type { Logger } from "@longshore/log";
import type { Store } from "@longshore/store";
import type { DnsSettings } from "./resolv-conf.ts";

export interface NetworksOptions {
  /** Of the host's current boot: `netns/` in it holds the sandboxes. */
  readonly stateDir: string;
  /** Name of the default bridge, and of the nftables table: up to 15 of letters, digits, `-`, `_` and `.`. */
  readonly bridge: string;
  /** Address and prefix of the default bridge, `10.1.0.1/16`; otherwise the first free one of Docker's pools. */
  readonly bip?: string;
  readonly store: Store;
  readonly log: Logger;
}

/** A network as the Engine API shows it. */
export interface NetworkFacts {
  /** 64 hexadecimal digits. */
  readonly id: string;
  readonly name: string;
  readonly driver: "bridge" | "host" | "null";
  readonly scope: "local";
  /** RFC 3339. */
  readonly created: string;
  readonly internal: boolean;
  readonly attachable: boolean;
  readonly enableIpv6: boolean;
  readonly ipam: ReadonlyArray<{ readonly subnet: string; readonly gateway: string }>;
  /** The driver's, with Docker's names. */
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  /** By container id. `ipv4Address` has its prefix, `172.17.0.2/16`. */
  readonly containers: Readonly<
    Record<string, { readonly endpointId: string; readonly macAddress: string; readonly ipv4Address: string }>
  >;
}

export interface SandboxRequest {
  /** A file name, unique among the sandboxes. */
  readonly sandboxId: string;
  readonly containerId: string;
  readonly mode: "bridge" | "none";
  readonly hostname: string;
  /** Further names in the hosts file. */
  readonly aliases: readonly string[];
  /** `02:42:ac:11:00:02`; made from the address when left out. */
  readonly mac?: string;
  readonly dns?: DnsSettings;
}

export interface Endpoint {
  readonly networkId: string;
  readonly endpointId: string;
  readonly ipAddress: string;
  readonly prefixLen: number;
  readonly gateway: string;
  readonly macAddress: string;
}

export interface Sandbox {
  /** A file to be joined as a network namespace. */
  readonly netnsPath: string;
  /** Missing for mode `none`. */
  readonly endpoint?: Endpoint;
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
  /**
   * Make a network namespace, with an interface `eth0` in mode `bridge`. On failure nothing is left.
   *
   * @throws EngineError `already_exists` for a sandbox id in use, `resource_exhausted` when no address is free
   */
  createSandbox(request: SandboxRequest): Promise<Sandbox>;
  /** What `createSandbox` said of the endpoint, also after a restart. */
  endpoint(sandboxId: string): Endpoint | undefined;
  /** Remove a sandbox, its interfaces and its address; one that is not there is no error. */
  releaseSandbox(sandboxId: string): Promise<void>;
  /** Remove every sandbox but these, whole or half-made: after a restart. The others are put back on the bridge if they came off. */
  reconcile(liveSandboxIds: readonly string[]): Promise<void>;
  /** Let go of what this process holds; the networks and sandboxes go on. */
  close(): Promise<void>;
  /** Remove all sandboxes, the bridge and the nftables table, and close. The host goes on forwarding. */
  uninstall(): Promise<void>;
}
