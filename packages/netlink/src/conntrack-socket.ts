import { Errno, isErrno } from "@longshore/errors";
import { errnoName } from "@longshore/syscalls";
import { NetlinkWriter, parseAttributes } from "./attributes.ts";
import { type NetlinkRequest, NLM_F_ACK, NLM_F_DUMP, parseReplies, writeRequest } from "./message.ts";
import { NetlinkSocket } from "./netlink-socket.ts";

// linux/netfilter/nfnetlink.h and nfnetlink_conntrack.h
const NETLINK_NETFILTER = 12;
const NFNL_SUBSYS_CTNETLINK = 1;
const IPCTNL_MSG_CT_GET = 1;
const IPCTNL_MSG_CT_DELETE = 2;
const NFGENMSG_BYTES = 4;
const AF_UNSPEC = 0;
/** IPv4 and IPv6; a filter is for one. */
const FAMILIES = [2, 10];
const CTA_TUPLE_ORIG = 1;
const CTA_TUPLE_REPLY = 2;
const CTA_TUPLE_IP = 1;
const CTA_TUPLE_PROTO = 2;
const CTA_PROTO_NUM = 1;
const CTA_PROTO_SRC_PORT = 2;
const CTA_PROTO_DST_PORT = 3;
/** From Linux 5.8 on; kernels before it tell of all connections. */
const CTA_FILTER = 25;
const CTA_FILTER_ORIG_FLAGS = 1;
const CTA_FILTER_REPLY_FLAGS = 2;
const FILTER_PROTO_NUM = 1 << 3;
const ENOENT = 2;

/** One direction of a connection. Addresses are bytes with dots, as `join(".")` makes them; ports are 0 for protocols without. */
export interface ConnectionTuple {
  /** 17 is UDP. */
  readonly protocol: number;
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
}

/** A connection that the kernel tracks: as it began, and as answers come. They differ by more than direction when it is translated. */
export interface TrackedConnection {
  readonly original: ConnectionTuple;
  readonly reply: ConnectionTuple;
}

interface Found extends TrackedConnection {
  readonly family: number;
  readonly tuple: Uint8Array;
}

/** The connections that the kernel tracks in one network namespace: the one the thread is in when this is made. Synchronous. */
export class ConntrackSocket implements Disposable {
  readonly #socket = new NetlinkSocket(NETLINK_NETFILTER);
  #sequence = 0;

  /**
   * Forget connections of a protocol, so that their next packet begins anew. Reads all that there are.
   *
   * @returns how many
   */
  forget(protocol: number, which: (connection: TrackedConnection) => boolean): number {
    const found = this.#list(protocol).filter(
      (connection) => connection.original.protocol === protocol && which(connection),
    );
    for (const connection of found) this.#delete(connection);
    return found.length;
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }

  #list(protocol: number): Found[] {
    try {
      return FAMILIES.flatMap((family) => this.#dump(family, filter(protocol)));
    } catch (error) {
      if (!isErrno(error, "EOPNOTSUPP", "EINVAL")) throw error;
      return this.#dump(AF_UNSPEC, () => {});
    }
  }

  #dump(family: number, body: (writer: NetlinkWriter) => unknown): Found[] {
    const found: Found[] = [];
    this.#ask(request("list connections", IPCTNL_MSG_CT_GET, NLM_F_DUMP, family, body), (data) => {
      const connection = parseConnection(data);
      if (connection) found.push(connection);
    });
    return found;
  }

  /** One that is gone by itself is no error. */
  #delete({ family, tuple }: Found): void {
    this.#ask(
      request("forget a connection", IPCTNL_MSG_CT_DELETE, NLM_F_ACK, family, (writer) =>
        writer.attributeBytes(CTA_TUPLE_ORIG, tuple),
      ),
      () => {},
    );
  }

  #ask(asked: NetlinkRequest, onData: (body: Uint8Array) => void): void {
    const writer = new NetlinkWriter();
    const sequence = ++this.#sequence;
    writeRequest(writer, asked, sequence);
    this.#socket.send(writer.written);
    for (let ended = false; !ended; ) {
      for (const reply of parseReplies(this.#socket.receive())) {
        if (reply.sequence !== sequence) continue;
        if (reply.is === "data") onData(reply.body);
        else if (reply.errno !== 0 && reply.errno !== ENOENT)
          throw new Errno(errnoName(reply.errno), reply.errno, `conntrack: ${asked.what}`);
        else ended = true;
      }
    }
  }
}

const filter = (protocol: number) => (writer: NetlinkWriter) =>
  writer
    .nest(CTA_TUPLE_ORIG, (tuple) =>
      tuple.nest(CTA_TUPLE_PROTO, (ports) => ports.attributeU8(CTA_PROTO_NUM, protocol)),
    )
    .nest(CTA_FILTER, (flags) =>
      flags.attributeU32(CTA_FILTER_ORIG_FLAGS, FILTER_PROTO_NUM).attributeU32(CTA_FILTER_REPLY_FLAGS, 0),
    );

function request(
  what: string,
  message: number,
  flags: number,
  family: number,
  body: (writer: NetlinkWriter) => unknown = () => {},
): NetlinkRequest {
  return {
    ...{ what, flags, type: (NFNL_SUBSYS_CTNETLINK << 8) | message },
    body(writer) {
      writer.u8(family).u8(0).u16(0);
      body(writer);
    },
  };
}

function parseConnection(body: Uint8Array): Found | undefined {
  const attributes = parseAttributes(body.subarray(NFGENMSG_BYTES));
  const tuple = attributes.get(CTA_TUPLE_ORIG);
  const original = tuple && parseTuple(tuple);
  const reply = parseTuple(attributes.get(CTA_TUPLE_REPLY) ?? new Uint8Array());
  if (!tuple || !original || !reply) return undefined;
  return { family: body[0] ?? 0, tuple: Uint8Array.from(tuple), original, reply };
}

function parseTuple(bytes: Uint8Array): ConnectionTuple | undefined {
  const parts = parseAttributes(bytes);
  // 1 and 2 are the source and the destination of IPv4, 3 and 4 those of IPv6.
  const addresses = parseAttributes(parts.get(CTA_TUPLE_IP) ?? new Uint8Array());
  const source = addresses.get(1) ?? addresses.get(3);
  const destination = addresses.get(2) ?? addresses.get(4);
  const ports = parseAttributes(parts.get(CTA_TUPLE_PROTO) ?? new Uint8Array());
  const number = (value: Uint8Array | undefined) => ((value?.[0] ?? 0) << 8) | (value?.[1] ?? 0);
  if (!source || !destination) return undefined;
  return {
    ...{ source: source.join("."), destination: destination.join(".") },
    protocol: ports.get(CTA_PROTO_NUM)?.[0] ?? 0,
    sourcePort: number(ports.get(CTA_PROTO_SRC_PORT)),
    destinationPort: number(ports.get(CTA_PROTO_DST_PORT)),
  };
}
