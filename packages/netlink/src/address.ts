import { parseAttributes } from "./attributes.ts";
import { type NetlinkRequest, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE } from "./message.ts";

const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const RTM_GETADDR = 22;
const RTM_NEWROUTE = 24;
const RTM_GETROUTE = 26;

const AF_UNSPEC = 0;
const AF_INET = 2;
const AF_INET6 = 10;
const IFADDR_BYTES = 8;
const ROUTE_BYTES = 12;

const IFA_F_NODAD = 0x02;
const IFA_F_PERMANENT = 0x80;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_BROADCAST = 4;

const RT_TABLE_MAIN = 254;
const RTPROT_BOOT = 3;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RTN_UNICAST = 1;
const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RT_TABLE_LOCAL = 255;
const RTN_LOCAL = 2;
const LAST_METRIC = 1 << 30;

/** An address of an interface; `address` has 4 or 16 bytes. */
export interface LinkAddress {
  readonly index: number;
  readonly address: Uint8Array;
  readonly prefixLength: number;
  /** Set by somebody, for good; not learnt, nor with a time to live. */
  readonly permanent?: boolean;
  /** Meant for the whole world, not for the link or the host alone. */
  readonly global?: boolean;
}

/** A unicast route of the main table; `destination` has 4 or 16 bytes, and none for the default route. */
export interface Route {
  readonly index: number | undefined;
  readonly family: "ipv4" | "ipv6";
  readonly destination: Uint8Array;
  readonly prefixLength: number;
}

const familyOf = (address: Uint8Array): number => (address.byteLength === 4 ? AF_INET : AF_INET6);

/**
 * Give an interface an address, or change the one it has. `broadcast` is for IPv4; one of IPv6 can be used at once, without asking the
 * neighbours whether they have it.
 */
export function addAddress(options: {
  index: number;
  address: Uint8Array;
  prefixLength: number;
  broadcast?: Uint8Array;
}): NetlinkRequest {
  const { index, address, prefixLength, broadcast } = options;
  return {
    what: `add address to link ${index}`,
    type: RTM_NEWADDR,
    flags: NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
    body(writer) {
      const flags = address.byteLength === 4 ? 0 : IFA_F_NODAD;
      writer.u8(familyOf(address)).u8(prefixLength).u8(flags).u8(RT_SCOPE_UNIVERSE).u32(index);
      writer.attributeBytes(IFA_LOCAL, address).attributeBytes(IFA_ADDRESS, address);
      if (broadcast) writer.attributeBytes(IFA_BROADCAST, broadcast);
    },
  };
}

export function deleteAddress({ index, address, prefixLength }: LinkAddress): NetlinkRequest {
  return {
    what: `delete address of link ${index}`,
    type: RTM_DELADDR,
    flags: NLM_F_ACK,
    body(writer) {
      writer.u8(familyOf(address)).u8(prefixLength).u8(0).u8(RT_SCOPE_UNIVERSE).u32(index);
      writer.attributeBytes(IFA_LOCAL, address).attributeBytes(IFA_ADDRESS, address);
    },
  };
}

/** Addresses of all interfaces. */
export const listAddresses: NetlinkRequest = {
  what: "list addresses",
  type: RTM_GETADDR,
  flags: NLM_F_DUMP,
  body: (writer) => writer.u8(AF_UNSPEC).u8(0).u8(0).u8(0).u32(0),
};

/** The body of an `RTM_NEWADDR` message, copied out of it. */
export function parseAddress(body: Uint8Array): LinkAddress {
  const view = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const attributes = parseAttributes(body.subarray(IFADDR_BYTES));
  // IFA_ADDRESS is the other end's on a point-to-point link.
  const address = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS) ?? new Uint8Array();
  return {
    index: view.readUInt32LE(4),
    address: Uint8Array.from(address),
    prefixLength: view.readUInt8(1),
    permanent: (view.readUInt8(2) & IFA_F_PERMANENT) !== 0,
    global: view.readUInt8(3) === RT_SCOPE_UNIVERSE,
  };
}

/** The default route, in the place of the one that there is: by a gateway that the interface reaches directly, or without one to whoever is on its link. */
export function addDefaultRoute(
  index: number,
  gateway: Uint8Array | undefined,
  family: "ipv4" | "ipv6" = "ipv4",
): NetlinkRequest {
  return {
    what: `add default route to link ${index}`,
    type: RTM_NEWROUTE,
    flags: NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
    body(writer) {
      const scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
      writer
        .u8(gateway ? familyOf(gateway) : family === "ipv4" ? AF_INET : AF_INET6)
        .u8(0)
        .u8(0)
        .u8(0);
      writer.u8(RT_TABLE_MAIN).u8(RTPROT_BOOT).u8(scope).u8(RTN_UNICAST).u32(0);
      if (gateway) writer.attributeBytes(RTA_GATEWAY, gateway);
      writer.attributeU32(RTA_OIF, index);
    },
  };
}

/**
 * Let packets for an address be the host's own also when they come by this interface: for `::1`, which has one on lo only. Used last among
 * the routes to it. One that is there is an error, `EEXIST`.
 */
export function addLocalRoute(index: number, address: Uint8Array): NetlinkRequest {
  return {
    what: `add local route to link ${index}`,
    type: RTM_NEWROUTE,
    flags: NLM_F_ACK | NLM_F_CREATE,
    body(writer) {
      writer
        .u8(familyOf(address))
        .u8(8 * address.byteLength)
        .u8(0)
        .u8(0);
      writer.u8(RT_TABLE_LOCAL).u8(RTPROT_BOOT).u8(RT_SCOPE_UNIVERSE).u8(RTN_LOCAL).u32(0);
      writer.attributeBytes(RTA_DST, address).attributeU32(RTA_OIF, index);
      writer.attributeU32(RTA_PRIORITY, LAST_METRIC);
    },
  };
}

/** Routes of all tables; `parseRoute` picks. */
export const listRoutes: NetlinkRequest = {
  what: "list routes",
  type: RTM_GETROUTE,
  flags: NLM_F_DUMP,
  body: (writer) => writer.u32(0).u32(0).u32(0),
};

/** The body of an `RTM_NEWROUTE` message; undefined for what is no unicast route of the main table. */
export function parseRoute(body: Uint8Array): Route | undefined {
  const view = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  if (view.readUInt8(4) !== RT_TABLE_MAIN || view.readUInt8(7) !== RTN_UNICAST) return undefined;
  const attributes = parseAttributes(body.subarray(ROUTE_BYTES));
  const index = attributes.get(RTA_OIF);
  return {
    index: index && Buffer.from(index).readUInt32LE(0),
    family: view.readUInt8(0) === AF_INET ? "ipv4" : "ipv6",
    destination: Uint8Array.from(attributes.get(RTA_DST) ?? []),
    prefixLength: view.readUInt8(1),
  };
}
