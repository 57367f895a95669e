import { type Message, RCODE, type ResourceRecord, TYPE, type WrittenMessage } from "./message.ts";
import { readName } from "./name.ts";

/** Longer than a day no server's word is taken for true; what doesn't exist may come into being within three hours (RFC 2308, 5). */
const MAX_TTL_SECONDS = 86_400;
const MAX_NEGATIVE_TTL_SECONDS = 3 * 3600;
/** What an entry takes beside its bytes and its key, roughly. */
const ENTRY_BYTES = 300;

interface Entry {
  readonly bytes: Buffer;
  readonly ttlOffsets: readonly number[];
  readonly storedMs: number;
  readonly expiresMs: number;
  readonly size: number;
}

export interface CacheOptions {
  /** Of all entries together; what was not asked for the longest goes. */
  readonly maxBytes?: number;
  readonly maxEntries?: number;
}

/** Answers of other servers for as long as they may be kept, by key. */
export class AnswerCache {
  readonly #entries = new Map<string, Entry>();
  readonly #maxBytes: number;
  readonly #maxEntries: number;
  #bytes = 0;

  constructor({ maxBytes = 4 * 1024 * 1024, maxEntries = 10_000 }: CacheOptions = {}) {
    this.#maxBytes = maxBytes;
    this.#maxEntries = maxEntries;
  }

  get size(): number {
    return this.#entries.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** A copy of an answer, its TTLs less by its age. */
  get(key: string, nowMs: number): Buffer | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    if (nowMs >= entry.expiresMs) {
      this.#delete(key, entry);
      return undefined;
    }
    // The order of the map is that of the last use.
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    const bytes = Buffer.from(entry.bytes);
    const age = Math.floor((nowMs - entry.storedMs) / 1000);
    if (age > 0)
      for (const at of entry.ttlOffsets) bytes.writeUInt32BE(Math.max(0, bytes.readUInt32BE(at) - age), at);
    return bytes;
  }

  /** Keep an answer if it may be kept. */
  set(key: string, message: Message, { bytes, ttlOffsets }: WrittenMessage, nowMs: number): void {
    const ttl = ttlOf(message);
    const size = bytes.length + 2 * key.length + 8 * ttlOffsets.length + ENTRY_BYTES;
    if (ttl <= 0 || size > this.#maxBytes / 8) return;
    const before = this.#entries.get(key);
    if (before) this.#delete(key, before);
    this.#entries.set(key, { bytes, ttlOffsets, storedMs: nowMs, expiresMs: nowMs + 1000 * ttl, size });
    this.#bytes += size;
    for (const [oldest, entry] of this.#entries) {
      if (this.#bytes <= this.#maxBytes && this.#entries.size <= this.#maxEntries) break;
      this.#delete(oldest, entry);
    }
  }

  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }

  #delete(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#bytes -= entry.size;
  }
}

/** For how many seconds an answer may be kept; 0 for those that may not. */
export function ttlOf({ rcode, flags, answers, authorities, questions }: Message): number {
  if ((flags & 0x0200) !== 0 || (rcode !== RCODE.NOERROR && rcode !== RCODE.NXDOMAIN)) return 0;
  const type = questions[0]?.type;
  const answered = answers.some((record) => record.type === type || type === TYPE.ANY);
  const least = (records: readonly ResourceRecord[], max: number): number =>
    records.reduce((ttl, record) => Math.min(ttl, signed(record.ttl)), max);
  if (rcode === RCODE.NOERROR && answered) return least(answers, MAX_TTL_SECONDS);
  // No such name, or none of this type, perhaps behind aliases: for as long as the zone says, if it says.
  const zone = authorities.find((record) => record.type === TYPE.SOA);
  const minimum = zone && soaMinimum(zone.data);
  if (!zone || minimum === undefined) return 0;
  return least([...answers, zone], Math.min(signed(minimum), MAX_NEGATIVE_TTL_SECONDS));
}

/** A TTL with the highest bit set counts as 0 (RFC 2181, 8). */
const signed = (ttl: number): number => (ttl > 0x7fff_ffff ? 0 : ttl);

function soaMinimum(data: Uint8Array): number | undefined {
  const server = readName(data, 0);
  const mailbox = server && readName(data, server.end);
  if (!mailbox || mailbox.end + 20 > data.length) return undefined;
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).readUInt32BE(mailbox.end + 16);
}
