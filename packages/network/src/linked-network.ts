import { EngineError } from "@longshore/errors";
import { IPVLAN_FLAGS, IPVLAN_MODES, MACVLAN_MODES } from "@longshore/netlink";
import { FAMILY_OPTIONS, NO_SUBNET } from "./bridge-network.ts";
import type { EndpointNetwork, FurtherSubnet, FurtherSubnet6 } from "./endpoints.ts";
import { newId } from "./ids.ts";
import { formatIpv4, formatSubnet, type Ipv4, parseCidr, parseIpv4, type Subnet } from "./ipv4.ts";
import { parseCidr6, parseIpv6, type Subnet6 } from "./ipv6.ts";
import { planIpv6 } from "./ipv6-plan.ts";
import type { NetworkRecord, SubnetRecord } from "./records.ts";
import type { AddressPoolSetting } from "./subnet-choice.ts";
import type { CreateNetwork, IpamRequest } from "./types.ts";
import { checkAddresses, withoutAddresses } from "./user-networks.ts";

export type LinkedDriver = "macvlan" | "ipvlan";
type MacvlanMode = keyof typeof MACVLAN_MODES;
type IpvlanMode = keyof typeof IPVLAN_MODES;
type IpvlanFlag = keyof typeof IPVLAN_FLAGS;

/** How its interfaces reach their neighbours. */
export type LinkedMode =
  | { readonly driver: "macvlan"; readonly mode: MacvlanMode }
  | { readonly driver: "ipvlan"; readonly mode: IpvlanMode; readonly flag: IpvlanFlag };

/** A network whose containers have interfaces on top of one of the host's, and are hosts of what that one leads to. */
export interface LinkedNetwork extends EndpointNetwork {
  readonly driver: LinkedDriver;
  readonly how: LinkedMode;
  readonly created: string;
  /** Name of the interface below. */
  readonly parent: string;
  /** Whether that one was made for this network. */
  readonly ownsParent: boolean;
  /** Nothing outside of it is reached. */
  readonly internal: boolean;
  readonly attachable: boolean;
  readonly configFrom: string;
  readonly auxiliary: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
}

/** Docker's names of the drivers' options. */
const PARENT = "parent";
const OPTIONS: Readonly<Record<LinkedDriver, readonly string[]>> = {
  macvlan: [PARENT, "macvlan_mode"],
  ipvlan: [PARENT, "ipvlan_mode", "ipvlan_flag"],
};

export function isLinkedDriver(driver: string): driver is LinkedDriver {
  return Object.hasOwn(OPTIONS, driver);
}

/**
 * A network as it is recorded; undefined for a record of another kind.
 * @param hosts addresses that the host itself has, which may well be of the same subnet
 */
export function linkedNetwork(
  name: string,
  record: NetworkRecord,
  hosts: readonly Ipv4[],
): LinkedNetwork | undefined {
  const { id, created, driver, linked, user } = record;
  if (!linked || !user || !isLinkedDriver(driver)) return undefined;
  const withoutIpv4 = linked.subnet === "";
  const gateway = withoutIpv4 ? 0 : parseIpv4(linked.gateway);
  if (gateway === undefined) throw new Error(`network ${name} has the gateway ${linked.gateway}`);
  const { auxiliary, options, labels, internal, attachable, configFrom = "" } = user;
  return {
    ...{ id, name, created, driver, gateway, auxiliary, options, labels, internal, attachable, configFrom },
    how: modeOf(driver, options),
    ...(withoutIpv4 ? { withoutIpv4, subnet: NO_SUBNET } : { subnet: parseCidr(linked.subnet).subnet }),
    ...(user.ipRange !== undefined && { ipRange: parseCidr(user.ipRange).subnet }),
    reserved: [...hosts, ...Object.values(auxiliary).flatMap((address) => parseIpv4(address) ?? [])],
    further: (linked.further ?? []).map(furtherSubnet),
    ...(linked.ipv6 && {
      ipv6: {
        ...furtherSubnet6({
          ...linked.ipv6,
          ...(user.ipRange6 !== undefined && { ipRange: user.ipRange6 }),
        }),
        reserved: Object.values(auxiliary).flatMap((address) => parseIpv6(address) ?? []),
        further: (linked.further6 ?? []).map(furtherSubnet6),
      },
    }),
    parent: user.link,
    ownsParent: linked.ownsParent,
  };
}

/**
 * Work out such a network as it was asked for, in Docker's words where that can't be.
 *
 * @param inUse subnets of other networks of ours; those of the host's routes may be the parent's own
 * @param pools where a subnet comes from that nobody named
 * @param isThere whether the host has an interface
 * @throws EngineError `invalid_argument`, `permission_denied` for a subnet in use, `resource_exhausted`
 */
export function planLinked(
  request: CreateNetwork,
  driver: LinkedDriver,
  inUse: { readonly ipv4: readonly Subnet[]; readonly ipv6: readonly Subnet6[] },
  { pools = [], isThere }: { pools?: readonly AddressPoolSetting[]; isThere: (link: string) => boolean },
): NetworkRecord {
  const { attachable, labels, options } = request;
  for (const option of Object.keys(options))
    if (![...OPTIONS[driver], ...FAMILY_OPTIONS].includes(option))
      throw new EngineError("invalid_argument", `network option ${option} is not supported`);
  modeOf(driver, options); // throws for what is none
  const id = newId();
  const given = options[PARENT] ?? "";
  if (given === "lo")
    throw new EngineError("invalid_argument", `loopback interface is not a valid ${driver} parent link`);
  const ownsParent = given === "" || !isThere(given);
  if (given !== "" && ownsParent) parseVlan(given, isThere);
  const { first, further, auxiliary } = request.withoutIpv4
    ? withoutSubnets(request)
    : planSubnets(request, inUse.ipv4, pools);
  const { first6, further6, auxiliary6 } = planSubnets6(request, inUse.ipv6);
  return {
    ...{ id, driver, created: new Date().toISOString() },
    linked: {
      ...{ subnet: first.subnet, gateway: first.gateway, ownsParent },
      ...(first6 && { ipv6: { subnet: first6.subnet, gateway: first6.gateway } }),
      ...(further.length > 0 && { further }),
      ...(further6.length > 0 && { further6 }),
    },
    user: {
      link: given === "" ? `dm-${id.slice(0, 12)}` : given,
      ...(first.ipRange !== undefined && { ipRange: first.ipRange }),
      ...(first6?.ipRange !== undefined && { ipRange6: first6.ipRange }),
      auxiliary: { ...auxiliary, ...auxiliary6 },
      // What leads nowhere has no use for a gateway.
      internal: request.internal || given === "",
      ...{ attachable, options, labels },
      ...(request.configFrom !== undefined && { configFrom: request.configFrom }),
    },
  };
}

/** @throws EngineError `invalid_argument` for a request that says something of IPv4 all the same */
function withoutSubnets(request: CreateNetwork): ReturnType<typeof planSubnets> {
  for (const ipam of [request.ipam, ...(request.furtherIpam ?? [])]) withoutAddresses({ ...request, ipam });
  return { first: { subnet: "", gateway: "" }, further: [], auxiliary: {} };
}

/** The subnets of IPv4 that a request names, or one of the pools. */
function planSubnets(
  { ipam, furtherIpam = [] }: CreateNetwork,
  inUse: readonly Subnet[],
  pools: readonly AddressPoolSetting[],
) {
  const used = [...inUse];
  const plan = (one: IpamRequest): SubnetRecord => {
    const { subnet, gateway, ipRange } = checkAddresses({ ipam: one }, used, pools);
    used.push(subnet);
    return {
      ...{ subnet: formatSubnet(subnet), gateway: formatIpv4(gateway) },
      ...(ipRange && { ipRange: formatSubnet(ipRange) }),
    };
  };
  const first = plan(ipam);
  return { first, further: furtherIpam.map(plan), auxiliary: auxiliaryOf([ipam, ...furtherIpam]) };
}

/** The same of IPv6, which a network may have none of. */
function planSubnets6({ ipam6, furtherIpam6 = [] }: CreateNetwork, inUse: readonly Subnet6[]) {
  const used = [...inUse];
  const plan = (one: IpamRequest): SubnetRecord => {
    const { ipv6, ipRange6 } = planIpv6(one, used);
    used.push(parseCidr6(ipv6.subnet).subnet);
    return { ...ipv6, ...(ipRange6 !== undefined && { ipRange: ipRange6 }) };
  };
  const asked = ipam6 ? [ipam6, ...furtherIpam6] : [];
  const [first6, ...further6] = asked.map(plan);
  return { first6, further6, auxiliary6: auxiliaryOf(asked) };
}

const auxiliaryOf = (asked: readonly IpamRequest[]): Readonly<Record<string, string>> =>
  Object.assign({}, ...asked.map(({ auxiliary }) => auxiliary));

function furtherSubnet({ subnet, gateway, ipRange }: SubnetRecord): FurtherSubnet {
  return {
    ...{ subnet: parseCidr(subnet).subnet, gateway: parseIpv4(gateway) ?? 0 },
    ...(ipRange !== undefined && { ipRange: parseCidr(ipRange).subnet }),
  };
}

function furtherSubnet6({ subnet, gateway, ipRange }: SubnetRecord): FurtherSubnet6 {
  return {
    ...{ subnet: parseCidr6(subnet).subnet, gateway: parseIpv6(gateway) ?? 0n },
    ...(ipRange !== undefined && { ipRange: parseCidr6(ipRange).subnet }),
  };
}

/**
 * `eth0.10`: the VLAN 10 of eth0.
 * @throws EngineError `invalid_argument` in Docker's words for what is none, and `not_found` when there is no eth0
 */
export function parseVlan(
  name: string,
  isThere: (link: string) => boolean,
): { readonly parent: string; readonly vlan: number } {
  const [parent = "", number = "", ...others] = name.split(".");
  const refuse = (message: string) => new EngineError("invalid_argument", message);
  if (number === "" || others.length > 0)
    throw refuse(`invalid subinterface vlan name ${name}, example formatting is eth0.10`);
  if (!/^\d+$/.test(number))
    throw refuse(`unable to parse a valid vlan id from: ${number} (ex. eth0.10 for vlan 10)`);
  if (!isThere(parent))
    throw new EngineError("not_found", `-o parent interface was not found on the host: ${parent}`);
  const vlan = Number(number);
  if (vlan < 1 || vlan > 4094) throw refuse(`vlan id must be between 1-4094, received: ${vlan}`);
  return { parent, vlan };
}

function modeOf(driver: LinkedDriver, options: Readonly<Record<string, string>>): LinkedMode {
  if (driver === "macvlan")
    return { driver, mode: pick(MACVLAN_MODES, options.macvlan_mode, "bridge", "macvlan mode", driver) };
  return {
    driver,
    mode: pick(IPVLAN_MODES, options.ipvlan_mode, "l2", "ipvlan mode", driver),
    flag: pick(IPVLAN_FLAGS, options.ipvlan_flag, "bridge", "ipvlan flag", driver),
  };
}

function pick<T extends string>(
  known: Readonly<Record<T, number>>,
  given: string | undefined,
  usual: T,
  what: string,
  driver: LinkedDriver,
): T {
  const wanted = given || usual;
  if (Object.hasOwn(known, wanted)) return wanted as T;
  const kind = what.split(" ")[1];
  throw new EngineError(
    "invalid_argument",
    `requested ${what} '${given}' is not valid, '${usual}' ${kind} is the ${driver} driver default`,
  );
}
