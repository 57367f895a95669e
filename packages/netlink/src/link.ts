import { attributeNumber, attributeText, type NetlinkWriter, parseAttributes } from "./attributes.ts";
import { type NetlinkRequest, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL } from "./message.ts";

/** Numbers of linux/rtnetlink.h, if_link.h and veth.h. */
export const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const RTM_SETLINK = 19;

const AF_UNSPEC = 0;
const AF_BRIDGE = 7;
const AF_INET6 = 10;
const IFINFO_BYTES = 16;
const IFF_UP = 0x1;

export const IFLA_ADDRESS = 1;
export const IFLA_IFNAME = 3;
export const IFLA_MTU = 4;
export const IFLA_LINK = 5;
const IFLA_MASTER = 10;
const IFLA_PROTINFO = 12;
export const IFLA_LINKINFO = 18;
const IFLA_AF_SPEC = 26;
export const IFLA_NET_NS_FD = 28;
export const IFLA_INFO_KIND = 1;
export const IFLA_INFO_DATA = 2;
const VETH_INFO_PEER = 1;
const IFLA_INET6_ADDR_GEN_MODE = 8;
const IN6_ADDR_GEN_MODE_NONE = 1;
const IFLA_BRPORT_MODE = 4;
const IFLA_BRPORT_ISOLATED = 33;

/** A network interface. `kind` is missing for hardware and lo. `master` is an interface's index. */
export interface Link {
  readonly index: number;
  readonly name: string;
  readonly kind: string | undefined;
  readonly mac: string | undefined;
  readonly mtu: number | undefined;
  readonly master: number | undefined;
  /** The interface that this one is a part of, as a VLAN is. */
  readonly parent: number | undefined;
  readonly up: boolean;
}

/** The longest name of an interface: 15 bytes. */
export const MAX_LINK_NAME = 15;

/** @throws RangeError unless it is six two-digit hexadecimal numbers with colons */
export function macBytes(mac: string): Uint8Array {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(mac)) throw new RangeError(`not a MAC address: ${mac}`);
  return Buffer.from(mac.replaceAll(":", ""), "hex");
}

/** `02:42:ac:11:00:02` */
export function macText(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":");
}

/** The fixed part of messages about interfaces. */
export const interfaceInfo = (
  writer: NetlinkWriter,
  { family = AF_UNSPEC, index = 0, up = false } = {},
): void => {
  const flags = up ? IFF_UP : 0;
  writer.u8(family).u8(0).u16(0).i32(index).u32(flags).u32(flags);
};

export function createBridge(options: { name: string; mac?: string; mtu?: number }): NetlinkRequest {
  return {
    what: `create bridge ${options.name}`,
    type: RTM_NEWLINK,
    flags: NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
    body(writer) {
      interfaceInfo(writer);
      writer.attributeString(IFLA_IFNAME, options.name);
      if (options.mac !== undefined) writer.attributeBytes(IFLA_ADDRESS, macBytes(options.mac));
      if (options.mtu !== undefined) writer.attributeU32(IFLA_MTU, options.mtu);
      writer.nest(IFLA_LINKINFO, () => writer.attributeString(IFLA_INFO_KIND, "bridge"));
    },
  };
}

/** Make a pair of interfaces, the peer straight in another network namespace when there is a descriptor of one; both are down. */
export function createVeth(options: {
  name: string;
  mtu?: number;
  peer: { name: string; netns?: number; mac?: string };
}): NetlinkRequest {
  const { name, mtu, peer } = options;
  return {
    what: `create veth ${name}`,
    type: RTM_NEWLINK,
    flags: NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
    body(writer) {
      interfaceInfo(writer);
      writer.attributeString(IFLA_IFNAME, name);
      if (mtu !== undefined) writer.attributeU32(IFLA_MTU, mtu);
      writer.nest(IFLA_LINKINFO, () => {
        writer.attributeString(IFLA_INFO_KIND, "veth");
        writer.nest(IFLA_INFO_DATA, () =>
          writer.nest(VETH_INFO_PEER, () => {
            // Not up yet: the kernel refuses that before both ends exist.
            interfaceInfo(writer);
            writer.attributeString(IFLA_IFNAME, peer.name);
            if (peer.netns !== undefined) writer.attributeU32(IFLA_NET_NS_FD, peer.netns);
            if (peer.mac !== undefined) writer.attributeBytes(IFLA_ADDRESS, macBytes(peer.mac));
            if (mtu !== undefined) writer.attributeU32(IFLA_MTU, mtu);
          }),
        );
      });
    },
  };
}

/** Change an interface, found by index or else by name. `ipv6Addresses: false`: it makes no link-local address. */
export function setLink(
  link: { index: number } | { name: string },
  change: { up?: true; master?: number; mtu?: number; ipv6Addresses?: false },
): NetlinkRequest {
  return {
    what: `set up ${"name" in link ? link.name : `link ${link.index}`}`,
    type: RTM_SETLINK,
    flags: NLM_F_ACK,
    body(writer) {
      interfaceInfo(writer, { ...("index" in link && { index: link.index }), up: change.up === true });
      if ("name" in link) writer.attributeString(IFLA_IFNAME, link.name);
      if (change.mtu !== undefined) writer.attributeU32(IFLA_MTU, change.mtu);
      if (change.master !== undefined) writer.attributeU32(IFLA_MASTER, change.master);
      if (change.ipv6Addresses === false)
        writer.nest(IFLA_AF_SPEC, () =>
          writer.nest(AF_INET6, () => writer.attributeU8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE)),
        );
    },
  };
}

/** Move an interface to another network namespace, under a name that it has there from the first moment; the kernel takes it down. */
export function moveLink(options: { index: number; name: string; netns: number }): NetlinkRequest {
  const { index, name, netns } = options;
  return {
    what: `move link ${index} to another network namespace`,
    type: RTM_NEWLINK,
    flags: NLM_F_ACK,
    body(writer) {
      interfaceInfo(writer, { index });
      writer.attributeString(IFLA_IFNAME, name);
      writer.attributeU32(IFLA_NET_NS_FD, netns);
    },
  };
}

/** Change what an interface may do as a port of its bridge. `isolated` ports reach no other isolated port. */
export function setBridgePort(
  index: number,
  { hairpin, isolated }: { hairpin: boolean; isolated: boolean },
): NetlinkRequest {
  return {
    what: `set bridge port ${index}`,
    type: RTM_SETLINK,
    flags: NLM_F_ACK,
    body(writer) {
      interfaceInfo(writer, { family: AF_BRIDGE, index });
      writer.nest(IFLA_PROTINFO, () => {
        writer.attributeU8(IFLA_BRPORT_MODE, hairpin ? 1 : 0);
        writer.attributeU8(IFLA_BRPORT_ISOLATED, isolated ? 1 : 0);
      });
    },
  };
}

export function deleteLink(name: string): NetlinkRequest {
  return {
    what: `delete link ${name}`,
    type: RTM_DELLINK,
    flags: NLM_F_ACK,
    body(writer) {
      interfaceInfo(writer);
      writer.attributeString(IFLA_IFNAME, name);
    },
  };
}

export function getLink(name: string): NetlinkRequest {
  return {
    what: `get link ${name}`,
    type: RTM_GETLINK,
    flags: NLM_F_ACK,
    body(writer) {
      interfaceInfo(writer);
      writer.attributeString(IFLA_IFNAME, name);
    },
  };
}

export const listLinks: NetlinkRequest = {
  what: "list links",
  type: RTM_GETLINK,
  flags: NLM_F_DUMP,
  body: (writer) => interfaceInfo(writer),
};

/** The body of an `RTM_NEWLINK` message. */
export function parseLink(body: Uint8Array): Link {
  const view = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const attributes = parseAttributes(body.subarray(IFINFO_BYTES));
  const mac = attributes.get(IFLA_ADDRESS);
  const info = attributes.get(IFLA_LINKINFO);
  return {
    index: view.readInt32LE(4),
    name: attributeText(attributes.get(IFLA_IFNAME)) ?? "",
    kind: info && attributeText(parseAttributes(info).get(IFLA_INFO_KIND)),
    mac: mac && macText(mac),
    mtu: attributeNumber(attributes.get(IFLA_MTU)),
    master: attributeNumber(attributes.get(IFLA_MASTER)),
    parent: attributeNumber(attributes.get(IFLA_LINK)),
    up: (view.readUInt32LE(8) & IFF_UP) !== 0,
  };
}
