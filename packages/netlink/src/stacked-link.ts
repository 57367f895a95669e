import type { NetlinkWriter } from "./attributes.ts";
import {
  IFLA_ADDRESS,
  IFLA_IFNAME,
  IFLA_INFO_DATA,
  IFLA_INFO_KIND,
  IFLA_LINK,
  IFLA_LINKINFO,
  IFLA_MTU,
  IFLA_NET_NS_FD,
  interfaceInfo,
  macBytes,
  RTM_NEWLINK,
} from "./link.ts";
import { type NetlinkRequest, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL } from "./message.ts";

/** Numbers of linux/if_link.h. */
const IFLA_MACVLAN_MODE = 1;
const IFLA_IPVLAN_MODE = 1;
const IFLA_IPVLAN_FLAGS = 2;
const IFLA_VLAN_ID = 1;

/** How interfaces of one parent reach each other, `MACVLAN_MODE_…`. */
export const MACVLAN_MODES = { private: 1, vepa: 2, bridge: 4, passthru: 8 } as const;
/** On which layer packets are led to an interface, `IPVLAN_MODE_…`. */
export const IPVLAN_MODES = { l2: 0, l3: 1, l3s: 2 } as const;
/** The same question as for macvlan, `IPVLAN_F_…`; bridge is no flag at all. */
export const IPVLAN_FLAGS = { bridge: 0, private: 1, vepa: 2 } as const;

/** An interface on top of another. */
export interface StackedLink {
  readonly name: string;
  /** Index of the interface below, in the socket's network namespace. */
  readonly parent: number;
  /** Where it is made: a namespace's descriptor; the socket's own when left out. */
  readonly netns?: number;
  readonly mtu?: number | undefined;
}

/** An interface with a MAC address of its own. */
export function createMacvlan(
  link: StackedLink & { readonly mode: keyof typeof MACVLAN_MODES; readonly mac?: string },
): NetlinkRequest {
  return create("macvlan", link, link.mac, (writer) =>
    writer.attributeU32(IFLA_MACVLAN_MODE, MACVLAN_MODES[link.mode]),
  );
}

/** An interface that shares its parent's MAC address. */
export function createIpvlan(
  link: StackedLink & {
    readonly mode: keyof typeof IPVLAN_MODES;
    readonly flag: keyof typeof IPVLAN_FLAGS;
  },
): NetlinkRequest {
  return create("ipvlan", link, undefined, (writer) => {
    writer.attributeU16(IFLA_IPVLAN_MODE, IPVLAN_MODES[link.mode]);
    writer.attributeU16(IFLA_IPVLAN_FLAGS, IPVLAN_FLAGS[link.flag]);
  });
}

/** What of its parent's traffic has a VLAN's number, 1 to 4094. */
export function createVlan(link: StackedLink & { readonly vlan: number }): NetlinkRequest {
  return create("vlan", link, undefined, (writer) => writer.attributeU16(IFLA_VLAN_ID, link.vlan));
}

/** An interface that leads nowhere. */
export function createDummy(name: string): NetlinkRequest {
  return create("dummy", { name }, undefined, () => {});
}

function create(
  kind: string,
  { name, parent, netns, mtu }: Pick<StackedLink, "name"> & Partial<StackedLink>,
  mac: string | undefined,
  data: (writer: NetlinkWriter) => void,
): NetlinkRequest {
  return {
    what: `create ${kind} ${name}`,
    type: RTM_NEWLINK,
    flags: NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
    body(writer) {
      interfaceInfo(writer);
      writer.attributeString(IFLA_IFNAME, name);
      if (parent !== undefined) writer.attributeU32(IFLA_LINK, parent);
      if (netns !== undefined) writer.attributeU32(IFLA_NET_NS_FD, netns);
      if (mtu !== undefined) writer.attributeU32(IFLA_MTU, mtu);
      if (mac !== undefined) writer.attributeBytes(IFLA_ADDRESS, macBytes(mac));
      writer.nest(IFLA_LINKINFO, () => {
        writer.attributeString(IFLA_INFO_KIND, kind);
        writer.nest(IFLA_INFO_DATA, () => data(writer));
      });
    },
  };
}
