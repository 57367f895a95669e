import {
  AF_INET,
  close,
  connect,
  fixedBuffer,
  MSG_DONTWAIT,
  receive,
  SOCK_RAW,
  send,
  socket,
} from "@longshore/syscalls";

/** An SCTP packet of one chunk (RFC 9260, 3.1), without the header of IP. */
export interface SctpPacket {
  readonly sourcePort: number;
  readonly port: number;
  /** Of whom it is for; 0 with INIT. */
  readonly tag: number;
  /** 1: INIT, 2: INIT ACK. */
  readonly chunk: number;
  readonly initiateTag: number;
}

const SCTP = 132;
const PACKET_BYTES = 32;

/**
 * SCTP by hand, as kernels without it have it: what conntrack and NAT make of packets they do without. Belongs to the network namespace that the
 * thread is in.
 */
export function openSctp() {
  const fd = socket(AF_INET, SOCK_RAW, SCTP);
  const into = fixedBuffer(2048);
  return {
    send(address: string, packet: SctpPacket): void {
      connect(fd, Uint8Array.of(AF_INET, 0, 0, 0, ...address.split(".").map(Number), ...new Uint8Array(8)));
      send(fd, write(packet));
    },
    /** The next packet that has come, and from where; undefined when there is none. */
    next(): (SctpPacket & { readonly from: string; readonly intact: boolean }) | undefined {
      let length: number;
      try {
        length = receive(fd, into, MSG_DONTWAIT);
      } catch {
        return undefined;
      }
      const headerBytes = ((into[0] ?? 0) & 0xf) * 4;
      return {
        from: into.subarray(12, 16).join("."),
        ...read(Buffer.from(into.subarray(headerBytes, length))),
      };
    },
    [Symbol.dispose]: () => close(fd),
  };
}

function write({ sourcePort, port, tag, chunk, initiateTag }: SctpPacket): Buffer {
  const bytes = Buffer.alloc(PACKET_BYTES);
  bytes.writeUInt16BE(sourcePort, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.writeUInt32BE(tag, 4);
  bytes.writeUInt8(chunk, 12);
  bytes.writeUInt16BE(20, 14);
  bytes.writeUInt32BE(initiateTag, 16);
  bytes.writeUInt32BE(65_536, 20); // receiver window
  bytes.writeUInt16BE(1, 24); // streams
  bytes.writeUInt16BE(1, 26);
  bytes.writeUInt32LE(crc32c(bytes), 8);
  return bytes;
}

function read(bytes: Buffer) {
  const checksum = bytes.readUInt32LE(8);
  bytes.writeUInt32LE(0, 8);
  return {
    ...{ sourcePort: bytes.readUInt16BE(0), port: bytes.readUInt16BE(2), tag: bytes.readUInt32BE(4) },
    ...{ chunk: bytes.readUInt8(12), initiateTag: bytes.readUInt32BE(16) },
    intact: crc32c(bytes) === checksum,
  };
}

/** Castagnoli's, bit by bit (RFC 9260, appendix A). */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f6_3b78 : 0);
  }
  return ~crc >>> 0;
}
