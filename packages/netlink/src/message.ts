import { align, attributeText, type NetlinkWriter, parseAttributes } from "./attributes.ts";

/** Length of `struct nlmsghdr`. */
export const HEADER_BYTES = 16;

export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_DUMP = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_APPEND = 0x800;
/** Of a reply: what is listed was changed while it was read. */
export const NLM_F_DUMP_INTR = 0x10;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLMSG_MIN_TYPE = 16;

const NLMSGERR_ATTR_MSG = 1;

/** A request to the kernel, yet without its sequence number. */
export interface NetlinkRequest {
  /** For messages to people: `create veth vethab12`. */
  readonly what: string;
  readonly type: number;
  readonly flags: number;
  /** Writes what follows the header: the fixed structure of the type, then attributes. */
  readonly body: (writer: NetlinkWriter) => void;
}

/** Append one request with its header. */
export function writeRequest(writer: NetlinkWriter, request: NetlinkRequest, sequence: number): void {
  const start = writer.length;
  writer
    .u32(0)
    .u16(request.type)
    .u16(request.flags | NLM_F_REQUEST)
    .u32(sequence)
    .u32(0);
  request.body(writer);
  writer.setU32(start, writer.length - start);
  writer.pad();
}

/** One message from the kernel. `errno` is positive; `body` is a view into the datagram. */
export type NetlinkReply =
  | { readonly is: "result"; readonly sequence: number; readonly errno: number; readonly reason?: string }
  | { readonly is: "done"; readonly sequence: number; readonly errno: number }
  | {
      readonly is: "data";
      readonly sequence: number;
      readonly type: number;
      readonly flags: number;
      /** Of the socket that asked; of a notification, by which it came about. */
      readonly portId: number;
      readonly body: Uint8Array;
    };

/** The messages of one datagram. */
export function parseReplies(datagram: Uint8Array): NetlinkReply[] {
  const view = Buffer.from(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  const replies: NetlinkReply[] = [];
  for (let offset = 0; offset + HEADER_BYTES <= view.byteLength; ) {
    const length = view.readUInt32LE(offset);
    if (length < HEADER_BYTES || offset + length > view.byteLength) break;
    const type = view.readUInt16LE(offset + 4);
    const flags = view.readUInt16LE(offset + 6);
    const sequence = view.readUInt32LE(offset + 8);
    const portId = view.readUInt32LE(offset + 12);
    const body = view.subarray(offset + HEADER_BYTES, offset + length);
    if (type === NLMSG_ERROR && body.byteLength >= 4 + HEADER_BYTES)
      replies.push(parseResult(body, flags, sequence));
    else if (type === NLMSG_DONE)
      replies.push({ is: "done", sequence, errno: body.byteLength >= 4 ? -body.readInt32LE(0) : 0 });
    else if (type >= NLMSG_MIN_TYPE) replies.push({ is: "data", sequence, type, flags, portId, body });
    offset += align(length);
  }
  return replies;
}

function parseResult(body: Buffer, flags: number, sequence: number): NetlinkReply {
  const errno = -body.readInt32LE(0);
  // struct nlmsgerr: the number, the request's header and, unless capped, the rest of the request.
  const request = flags & NLM_F_CAPPED ? HEADER_BYTES : align(body.readUInt32LE(4));
  const attributes = flags & NLM_F_ACK_TLVS ? parseAttributes(body.subarray(4 + request)) : undefined;
  const reason = attributeText(attributes?.get(NLMSGERR_ATTR_MSG));
  return { is: "result", sequence, errno, ...(reason !== undefined && { reason }) };
}
