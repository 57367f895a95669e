import { OUR_UDP_BYTES } from "./exchange.ts";
import { Forwarder, type ForwarderOptions } from "./forwarder.ts";
import {
  CLASS_ANY,
  CLASS_IN,
  FLAG,
  HEADER_BYTES,
  MAX_MESSAGE_BYTES,
  type Message,
  MIN_UDP_BYTES,
  nameBytes,
  opcodeOf,
  type Question,
  RCODE,
  type ResourceRecord,
  readMessage,
  TYPE,
  writeMessage,
} from "./message.ts";
import { addressBytes, reverseAddress, writeName } from "./name.ts";

/** Who is who. Each is asked with the address that the question came from. */
export interface Zone {
  /** The addresses, of either family, that a name has for this client; undefined for a name that isn't ours. In lower case, without a last dot. */
  names(client: string, name: string): readonly string[] | undefined;
  /** The name of an address. IPv6 comes with all its digits: `fd00:0000:…`. */
  pointer(client: string, address: string): string | undefined;
  /** Where everything else is asked, in order; with none it fails. `192.0.2.1`, `192.0.2.1:5353`, `[2001:db8::1]:53`. */
  upstreams(client: string): readonly string[];
  /** A number that changes with what the others give; without it all are asked for each query. */
  readonly version?: number;
}

export type Transport = "udp" | "tcp";
/** The bytes to send back; undefined for what deserves no answer. */
export type Answer = Buffer | undefined;

/** As Docker has it. */
const OWN_TTL_SECONDS = 600;
/** No sense in more: UDP carries it in pieces. */
const MAX_UDP_BYTES = 4096;

/** Answers queries: about its zone by itself, about the rest by what other servers say. */
export class Resolver implements Disposable {
  readonly #zone: Zone;
  readonly #forwarder: Forwarder;
  #rotation = 0;

  constructor(zone: Zone, options: ForwarderOptions = {}) {
    this.#zone = zone;
    this.#forwarder = new Forwarder(options);
  }

  /** Answers that are kept, in number and bytes. */
  get cached(): { readonly entries: number; readonly bytes: number } {
    return { entries: this.#forwarder.cache.size, bytes: this.#forwarder.cache.bytes };
  }

  /** What was answered at once is answered again as long as this is the same, in the same second; undefined when that isn't known. */
  get version(): number | undefined {
    return this.#zone.version;
  }

  /** How many answers were given that the next one of the same question will not be like. */
  get turns(): number {
    return this.#rotation;
  }

  /** Answer a query, at once unless other servers must be asked. Never throws, nor rejects, for what is in the query. */
  answer(client: string, query: Uint8Array, transport: Transport): Answer | Promise<Answer> {
    const message = readMessage(query);
    if (!message) return malformed(query);
    if ((message.flags & FLAG.RESPONSE) !== 0) return undefined;
    const limit = limitOf(message, transport);
    const [question, ...others] = message.questions;
    if (opcodeOf(message.flags) !== 0) return write(message, { rcode: RCODE.NOTIMP }, limit);
    if (!question || others.length > 0) return write(message, { rcode: RCODE.FORMERR }, limit);
    if (message.edns && message.edns.version !== 0) return write(message, { rcode: RCODE.BADVERS }, limit);
    if (!isServed(question)) return write(message, { rcode: RCODE.REFUSED }, limit);

    const own = this.#own(client, question);
    if (own) return write(message, { answers: own, authoritative: true }, limit);
    const failed = () => write(message, { rcode: RCODE.SERVFAIL }, limit);
    const { dnssecOk = false } = message.edns ?? {};
    const checkingDisabled = (message.flags & FLAG.CHECKING_DISABLED) !== 0;
    const inquiry = { question, dnssecOk, checkingDisabled };
    const known = this.#forwarder.ask(inquiry, this.#zone.upstreams(client));
    if (!known) return failed();
    if (known instanceof Promise)
      return known.then((bytes) => (bytes ? adapt(message, bytes, limit) : failed()), failed);
    return adapt(message, known, limit);
  }

  [Symbol.dispose](): void {
    this.#forwarder[Symbol.dispose]();
  }

  /** The records of a question about our zone, none when we have nothing of the type; undefined for other names. */
  #own(client: string, question: Question): ResourceRecord[] | undefined {
    const { name, type } = question;
    const addresses = this.#zone.names(client, name.toLowerCase());
    if (addresses) return this.#addressRecords(question, addresses);
    if (type !== TYPE.PTR && type !== TYPE.ANY) return undefined;
    const address = reverseAddress(name);
    const owner = address === undefined ? undefined : this.#zone.pointer(client, address);
    const data = owner === undefined ? undefined : nameBytes(owner);
    return data && [{ name, type: TYPE.PTR, class: CLASS_IN, ttl: OWN_TTL_SECONDS, data }];
  }

  #addressRecords({ name, type }: Question, addresses: readonly string[]): ResourceRecord[] {
    const records = addresses.flatMap((address): ResourceRecord[] => {
      const data = addressBytes(address);
      const own = data?.length === 4 ? TYPE.A : TYPE.AAAA;
      if (!data || (type !== own && type !== TYPE.ANY)) return [];
      return [{ name, type: own, class: CLASS_IN, ttl: OWN_TTL_SECONDS, data }];
    });
    if (records.length < 2) return records;
    const first = this.#rotation++ % records.length;
    return [...records.slice(first), ...records.slice(0, first)];
  }
}

/** Transfers of zones take more than one message, and other classes have nothing for containers. */
function isServed({ type, class: class_ }: Question): boolean {
  return (
    (class_ === CLASS_IN || class_ === CLASS_ANY) &&
    type !== TYPE.AXFR &&
    type !== TYPE.IXFR &&
    type !== TYPE.OPT
  );
}

function limitOf({ edns }: Message, transport: Transport): number {
  if (transport === "tcp") return MAX_MESSAGE_BYTES;
  return Math.min(MAX_UDP_BYTES, Math.max(MIN_UDP_BYTES, edns?.udpBytes ?? 0));
}

/** For what can't be read but is a query: says so. */
function malformed(query: Uint8Array): Answer {
  if (query.byteLength < HEADER_BYTES) return undefined;
  const header = Buffer.from(query.subarray(0, HEADER_BYTES));
  const flags = header.readUInt16BE(2);
  if ((flags & FLAG.RESPONSE) !== 0) return undefined;
  const answer = Buffer.alloc(HEADER_BYTES);
  answer.writeUInt16BE(header.readUInt16BE(0), 0);
  answer.writeUInt16BE(answerFlags(flags) | RCODE.FORMERR, 2);
  return answer;
}

/** Of a query's flags, those that its answer repeats, with those that each of ours has. */
const answerFlags = (query: number): number =>
  FLAG.RESPONSE |
  FLAG.RECURSION_AVAILABLE |
  (query & (0x7800 | FLAG.RECURSION_DESIRED | FLAG.CHECKING_DISABLED));

interface Own {
  readonly rcode?: number;
  readonly answers?: readonly ResourceRecord[];
  readonly authoritative?: boolean;
}

/** An answer of our own. */
function write(
  query: Message,
  { rcode = RCODE.NOERROR, answers = [], authoritative }: Own,
  limit: number,
): Buffer {
  const flags = answerFlags(query.flags) | (authoritative ? FLAG.AUTHORITATIVE : 0);
  return writeMessage(
    {
      ...{ id: query.id, flags, rcode, answers, authorities: [], additionals: [] },
      questions: query.questions.slice(0, 1),
      ...ednsFor(query),
    },
    limit,
  ).bytes;
}

const ednsFor = ({ edns }: Message) =>
  edns && { edns: { udpBytes: OUR_UDP_BYTES, version: 0, dnssecOk: edns.dnssecOk } };

/** Another server's answer as the answer to this query; `bytes` are changed. */
function adapt(query: Message, bytes: Buffer, limit: number): Buffer {
  const [question] = query.questions;
  const theirs = bytes.readUInt16BE(2);
  const wantsAuthentic = (query.flags & FLAG.AUTHENTIC_DATA) !== 0 || query.edns?.dnssecOk === true;
  const flags = answerFlags(query.flags) | (wantsAuthentic ? theirs & FLAG.AUTHENTIC_DATA : 0);
  const rcode = theirs & 0xf;
  if (query.edns || bytes.length > limit) {
    const answer = readMessage(bytes);
    if (!answer) return write(query, { rcode: RCODE.SERVFAIL }, limit);
    return writeMessage(
      { ...answer, id: query.id, flags, rcode, questions: query.questions, ...ednsFor(query) },
      limit,
    ).bytes;
  }
  bytes.writeUInt16BE(query.id, 0);
  bytes.writeUInt16BE(flags | rcode, 2);
  // In the case of this query: some clients make a secret of it.
  if (question) writeName(bytes, HEADER_BYTES, question.name, new Map());
  return bytes;
}
