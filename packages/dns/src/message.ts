import { type NamePlaces, readName, writeName } from "./name.ts";

/** Types of records, and of questions. */
export const TYPE = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
} as const;
export const CLASS_IN = 1;
export const CLASS_ANY = 255;

export const RCODE = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  /** Told by the extended bits of EDNS. */
  BADVERS: 16,
} as const;

/** Bits of a header's flags. */
export const FLAG = {
  RESPONSE: 0x8000,
  AUTHORITATIVE: 0x0400,
  TRUNCATED: 0x0200,
  RECURSION_DESIRED: 0x0100,
  RECURSION_AVAILABLE: 0x0080,
  AUTHENTIC_DATA: 0x0020,
  CHECKING_DISABLED: 0x0010,
} as const;
export const opcodeOf = (flags: number): number => (flags >> 11) & 0xf;

export const HEADER_BYTES = 12;
export const MAX_MESSAGE_BYTES = 65_535;
/** What every client takes by UDP. */
export const MIN_UDP_BYTES = 512;

export interface Question {
  readonly name: string;
  readonly type: number;
  readonly class: number;
}

export interface ResourceRecord extends Question {
  readonly ttl: number;
  /** Without compression. */
  readonly data: Uint8Array;
}

/** What the OPT record of EDNS says, its options left out: they are for the next hop only (RFC 6891). */
export interface Edns {
  readonly udpBytes: number;
  readonly version: number;
  readonly dnssecOk: boolean;
}

export interface Message {
  readonly id: number;
  /** The header's second word, without the response code. */
  readonly flags: number;
  readonly rcode: number;
  readonly questions: readonly Question[];
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  readonly additionals: readonly ResourceRecord[];
  readonly edns?: Edns;
}

const RECORD_HEADER_BYTES = 10;
const OPT_BYTES = 11;
const DNSSEC_OK = 0x8000;

/** Where names are in the data of the types that may have compressed ones (RFC 3597, 4): bytes before, how many names. */
const NAMES_IN_DATA: Readonly<Record<number, readonly [before: number, names: number]>> = {
  2: [0, 1], // NS
  3: [0, 1], // MD
  4: [0, 1], // MF
  5: [0, 1], // CNAME
  6: [0, 2], // SOA
  7: [0, 1], // MB
  8: [0, 1], // MG
  9: [0, 1], // MR
  12: [0, 1], // PTR
  14: [0, 2], // MINFO
  15: [2, 1], // MX
  17: [0, 2], // RP
  18: [2, 1], // AFSDB
  21: [2, 1], // RT
  26: [2, 2], // PX
  33: [6, 1], // SRV
  39: [0, 1], // DNAME
};

const view = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Read a message. Undefined for what is none; what comes after its last record doesn't matter. Copies what it keeps. */
export function readMessage(bytes: Uint8Array): Message | undefined {
  if (bytes.byteLength < HEADER_BYTES) return undefined;
  const buffer = view(bytes);
  const word = buffer.readUInt16BE(2);
  const questions: Question[] = [];
  let at = HEADER_BYTES;
  for (let count = buffer.readUInt16BE(4); count > 0; count--) {
    const read = readName(buffer, at);
    if (!read || read.end + 4 > buffer.length) return undefined;
    const { name, end } = read;
    questions.push({ name, type: buffer.readUInt16BE(end), class: buffer.readUInt16BE(end + 2) });
    at = end + 4;
  }
  const sections: ResourceRecord[][] = [];
  let edns: Edns | undefined;
  let extended = 0;
  for (const field of [6, 8, 10]) {
    const section: ResourceRecord[] = [];
    for (let count = buffer.readUInt16BE(field); count > 0; count--) {
      const read = readRecord(buffer, at);
      if (!read) return undefined;
      at = read.end;
      const { record } = read;
      if (record.type !== TYPE.OPT) {
        section.push(record);
        continue;
      }
      // One at most, and among the additional ones.
      if (edns || field !== 10 || record.name !== "") return undefined;
      extended = record.ttl >>> 24;
      edns = {
        udpBytes: record.class,
        version: (record.ttl >>> 16) & 0xff,
        dnssecOk: (record.ttl & DNSSEC_OK) !== 0,
      };
    }
    sections.push(section);
  }
  const [answers = [], authorities = [], additionals = []] = sections;
  return {
    ...{ id: buffer.readUInt16BE(0), flags: word & ~0xf, rcode: (extended << 4) | (word & 0xf) },
    ...{ questions, answers, authorities, additionals },
    ...(edns && { edns }),
  };
}

function readRecord(message: Buffer, start: number): { record: ResourceRecord; end: number } | undefined {
  const read = readName(message, start);
  if (!read || read.end + RECORD_HEADER_BYTES > message.length) return undefined;
  const { name, end: at } = read;
  const type = message.readUInt16BE(at);
  const dataStart = at + RECORD_HEADER_BYTES;
  const end = dataStart + message.readUInt16BE(at + 8);
  if (end > message.length) return undefined;
  const data = readData(message.subarray(0, end), dataStart, type);
  if (!data) return undefined;
  const ttl = message.readUInt32BE(at + 4);
  return { record: { name, type, class: message.readUInt16BE(at + 2), ttl, data }, end };
}

/** The data of a record that ends with `message`, its names written out. */
function readData(message: Buffer, start: number, type: number): Uint8Array | undefined {
  const [before, names] = NAMES_IN_DATA[type] ?? [0, 0];
  // Empty data, in a message that updates or a broken one, has no names.
  if (names === 0 || start === message.length) return new Uint8Array(message.subarray(start));
  if (start + before > message.length) return undefined;
  const parts: Uint8Array[] = [message.subarray(start, start + before)];
  let at = start + before;
  for (let count = names; count > 0; count--) {
    const read = readName(message, at);
    const plain = read && nameBytes(read.name);
    if (!plain) return undefined;
    parts.push(plain);
    at = read.end;
  }
  parts.push(message.subarray(at));
  return new Uint8Array(Buffer.concat(parts));
}

/** A name without compression; undefined when it is none. */
export function nameBytes(name: string): Uint8Array | undefined {
  const bytes = Buffer.alloc(256);
  const end = writeName(bytes, 0, name, new Map());
  return end === undefined ? undefined : bytes.subarray(0, end);
}

export interface WrittenMessage {
  readonly bytes: Buffer;
  /** Where the TTLs of its records are. */
  readonly ttlOffsets: readonly number[];
  /** Not all answers, or authorities, had room; TRUNCATED is set. */
  readonly truncated: boolean;
}

let workspace: Buffer | undefined;

/**
 * Write a message of at most `limit` bytes, with as many of its records as have room. Names of records are compressed, their data is not.
 *
 * @throws RangeError when its question, or a name in it, can't be written
 */
export function writeMessage(message: Message, limit: number = MAX_MESSAGE_BYTES): WrittenMessage {
  workspace ??= Buffer.from(new ArrayBuffer(MAX_MESSAGE_BYTES));
  const whole = Math.min(limit, MAX_MESSAGE_BYTES);
  const room = workspace.subarray(0, whole - (message.edns ? OPT_BYTES : 0));
  const places: NamePlaces = new Map();
  const ttlOffsets: number[] = [];
  let at: number | undefined = HEADER_BYTES;
  for (const question of message.questions) {
    at = writeName(room, at, question.name, places);
    if (at === undefined || at + 4 > room.length) throw new RangeError(`no question: ${question.name}`);
    at = room.writeUInt16BE(question.class, room.writeUInt16BE(question.type, at));
  }
  const counts: number[] = [];
  let truncated = false;
  let full = false;
  for (const section of [message.answers, message.authorities, message.additionals]) {
    let count = 0;
    for (const record of full ? [] : section) {
      const end = writeRecord(room, at, record, places, ttlOffsets);
      if (end === undefined) {
        full = true;
        break;
      }
      at = end;
      count++;
    }
    // Nobody misses additional records.
    if (count < section.length && counts.length < 2) truncated = true;
    counts.push(count);
  }
  if (message.edns) at = writeOpt(workspace, at, message.edns, message.rcode >> 4);
  workspace.writeUInt16BE(message.id, 0);
  const flags = truncated ? message.flags | FLAG.TRUNCATED : message.flags;
  workspace.writeUInt16BE((flags & ~0xf) | (message.rcode & 0xf), 2);
  workspace.writeUInt16BE(message.questions.length, 4);
  for (const [index, count] of counts.entries()) {
    const extra = index === 2 && message.edns ? 1 : 0;
    workspace.writeUInt16BE(count + extra, 6 + 2 * index);
  }
  return { bytes: Buffer.from(workspace.subarray(0, at)), ttlOffsets, truncated };
}

/** Returns where it ends; undefined without room for it, and then nothing may follow that is compressed. */
function writeRecord(
  room: Buffer,
  start: number,
  record: ResourceRecord,
  places: NamePlaces,
  ttlOffsets: number[],
): number | undefined {
  const at = writeName(room, start, record.name, places);
  if (at === undefined || at + RECORD_HEADER_BYTES + record.data.length > room.length) return undefined;
  room.writeUInt16BE(record.type, at);
  room.writeUInt16BE(record.class, at + 2);
  ttlOffsets.push(at + 4);
  room.writeUInt32BE(record.ttl, at + 4);
  room.writeUInt16BE(record.data.length, at + 8);
  room.set(record.data, at + RECORD_HEADER_BYTES);
  return at + RECORD_HEADER_BYTES + record.data.length;
}

function writeOpt(into: Buffer, start: number, edns: Edns, extendedRcode: number): number {
  into[start] = 0;
  into.writeUInt16BE(TYPE.OPT, start + 1);
  into.writeUInt16BE(edns.udpBytes, start + 3);
  into[start + 5] = extendedRcode;
  into[start + 6] = edns.version;
  into.writeUInt16BE(edns.dnssecOk ? DNSSEC_OK : 0, start + 7);
  into.writeUInt16BE(0, start + 9);
  return start + OPT_BYTES;
}
