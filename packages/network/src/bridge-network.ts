import type { EndpointNetwork, EndpointNetwork6 } from "./endpoints.ts";
import { type Ipv4, parseCidr, parseIpv4, type Subnet } from "./ipv4.ts";
import { parseCidr6, parseIpv6 } from "./ipv6.ts";
import type { NetworkRecord } from "./records.ts";

/** Bytes; Docker's default. */
const MTU = 1500;

/** Docker's names of the bridge driver's options. */
export const OPTION = {
  icc: "com.docker.network.bridge.enable_icc",
  masquerade: "com.docker.network.bridge.enable_ip_masquerade",
  hostBinding: "com.docker.network.bridge.host_binding_ipv4",
  link: "com.docker.network.bridge.name",
  mtu: "com.docker.network.driver.mtu",
} as const;

/** Options of any driver that say which families a network has; a request has worked them out. */
export const FAMILY_OPTIONS: readonly string[] = [
  "com.docker.network.enable_ipv4",
  "com.docker.network.enable_ipv6",
];

/** A network that is a bridge of the kernel's. */
export interface BridgeNetwork extends EndpointNetwork {
  readonly driver: "bridge";
  readonly created: string;
  /** Of the kernel's bridge. */
  readonly link: string;
  readonly mac: string;
  readonly subnet: Subnet;
  readonly gateway: Ipv4;
  readonly mtu: number;
  /** Whether its containers reach each other. */
  readonly icc: boolean;
  /** Whether its containers reach others by the host's address. */
  readonly masquerade: boolean;
  /** Nothing outside of it is reached, nor reaches it. */
  readonly internal: boolean;
  readonly attachable: boolean;
  readonly configFrom: string;
  readonly auxiliary: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
}

/** Of the default bridge, what are settings and not recorded. */
export interface DefaultBridgeFacts {
  readonly link: string;
  readonly options: Readonly<Record<string, string>>;
  readonly ipRange?: string | undefined;
  readonly ipRange6?: string | undefined;
  readonly router?: string | undefined;
  readonly router6?: string | undefined;
}

/** Docker's names of reserved addresses. */
const ROUTERS = { ipv4: "DefaultGatewayIPv4", ipv6: "DefaultGatewayIPv6" };

/**
 * A network as it is recorded.
 *
 * @param fallback for the default bridge
 */
export function bridgeNetwork(
  name: string,
  record: NetworkRecord,
  fallback: DefaultBridgeFacts,
): BridgeNetwork {
  const { id, created, bridge, user } = record;
  const withoutIpv4 = bridge?.subnet === "";
  const gateway = withoutIpv4 ? 0 : parseIpv4(bridge?.gateway ?? "");
  if (!bridge || gateway === undefined) throw new Error(`network ${name} is no bridge network`);
  const options = user?.options ?? fallback.options;
  const { ipRange, ipRange6, auxiliary, router, router6 } = user
    ? { ...NO_ROUTERS, ...user }
    : { ...fallback, auxiliary: routersOf(fallback) };
  return {
    ...{ id, name, created, gateway, auxiliary, options, driver: "bridge" },
    link: user?.link ?? fallback.link,
    mac: bridge.mac,
    ...(withoutIpv4 ? { withoutIpv4, subnet: NO_SUBNET } : { subnet: parseCidr(bridge.subnet).subnet }),
    ...(ipRange !== undefined && { ipRange: parseCidr(ipRange).subnet }),
    ...(router !== undefined && { router: parseIpv4(router) ?? gateway }),
    reserved: Object.values(auxiliary).flatMap((address) => parseIpv4(address) ?? []),
    ...(bridge.ipv6 && { ipv6: ipv6Of(bridge.ipv6, { ipRange6, auxiliary, router6 }) }),
    mtu: Number(options[OPTION.mtu] ?? MTU),
    icc: options[OPTION.icc] !== "false",
    masquerade: options[OPTION.masquerade] !== "false",
    internal: user?.internal ?? false,
    attachable: user?.attachable ?? false,
    configFrom: user?.configFrom ?? "",
    labels: user?.labels ?? {},
  };
}

/** In the place of one, where there is none. */
export const NO_SUBNET: Subnet = { base: 0, prefixLength: 32 };
const NO_ROUTERS = { ipRange: undefined, ipRange6: undefined, router: undefined, router6: undefined };

function routersOf({ router, router6 }: DefaultBridgeFacts): Record<string, string> {
  return {
    ...(router !== undefined && { [ROUTERS.ipv4]: router }),
    ...(router6 !== undefined && { [ROUTERS.ipv6]: router6 }),
  };
}

interface Ipv6Facts {
  readonly ipRange6: string | undefined;
  readonly router6: string | undefined;
  readonly auxiliary: Readonly<Record<string, string>>;
}

function ipv6Of(
  { subnet, gateway: own }: { readonly subnet: string; readonly gateway: string },
  { ipRange6, router6, auxiliary }: Ipv6Facts,
): EndpointNetwork6 {
  const gateway = parseIpv6(own) ?? 0n;
  return {
    ...{ subnet: parseCidr6(subnet).subnet, gateway },
    ...(ipRange6 !== undefined && { ipRange: parseCidr6(ipRange6).subnet }),
    ...(router6 !== undefined && { router: parseIpv6(router6) ?? gateway }),
    reserved: Object.values(auxiliary).flatMap((address) => parseIpv6(address) ?? []),
  };
}
