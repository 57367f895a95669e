import { decodeHuffman, STATIC_TABLE } from "./hpack-tables.ts";

export type Header = readonly [name: string, value: string];

/** What the peer may make its table, as long as we don't say otherwise: the default of HTTP/2. */
const TABLE_BYTES = 4096;
/** What an entry counts for beside its characters. */
const ENTRY_BYTES = 32;
/**
 * What the headers of one block, or of one answer, may count for: entries of the table let a block
 * of few bytes stand for thousands of times as many. Messages of errors can be long.
 */
export const HEADERS_LIMIT_BYTES = 1 << 20;

/** The header blocks of one direction of a connection, RFC 7541. They must all be decoded, in order. */
export class HpackDecoder {
  /** The newest first. */
  readonly #entries: Header[] = [];
  #bytes = 0;
  #limit = TABLE_BYTES;

  /** @throws Error for a block that doesn't parse or is too long; the connection is of no use then */
  decode(block: Uint8Array): Header[] {
    const input = new HpackReader(block);
    const headers: Header[] = [];
    let bytes = 0;
    while (!input.atEnd) {
      const header = this.#next(input);
      if (!header) continue;
      bytes += sizeOf(header);
      if (bytes > HEADERS_LIMIT_BYTES) throw new Error(`HPACK: more than ${HEADERS_LIMIT_BYTES} bytes`);
      headers.push(header);
    }
    return headers;
  }

  /** Undefined for an instruction that is no header. */
  #next(input: HpackReader): Header | undefined {
    const first = input.peek();
    if (first & 0x80) return this.#entry(input.integer(7));
    if (first & 0x40) {
      const header = this.#literal(input, 6);
      this.#add(header);
      return header;
    }
    if (first & 0x20) {
      this.#resize(input.integer(5));
      return undefined;
    }
    return this.#literal(input, 4);
  }

  #literal(input: HpackReader, prefixBits: number): Header {
    const index = input.integer(prefixBits);
    const name = index === 0 ? input.text() : this.#entry(index)[0];
    return [name, input.text()];
  }

  #entry(index: number): Header {
    const fixed = STATIC_TABLE.length;
    const entry = index > fixed ? this.#entries[index - fixed - 1] : STATIC_TABLE[index - 1];
    if (entry === undefined) throw new Error(`HPACK: no entry ${index}`);
    return entry;
  }

  #add(header: Header): void {
    this.#entries.unshift(header);
    this.#bytes += sizeOf(header);
    this.#evict();
  }

  #resize(limit: number): void {
    if (limit > TABLE_BYTES) throw new Error(`HPACK: a table of ${limit} bytes`);
    this.#limit = limit;
    this.#evict();
  }

  #evict(): void {
    while (this.#bytes > this.#limit) {
      const oldest = this.#entries.pop();
      if (oldest === undefined) return;
      this.#bytes -= sizeOf(oldest);
    }
  }
}

/** What a header counts for, RFC 7541 section 4.1. */
export const sizeOf = ([name, value]: Header): number => name.length + value.length + ENTRY_BYTES;

class HpackReader {
  readonly #bytes: Uint8Array;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#offset >= this.#bytes.byteLength;
  }

  peek(): number {
    const byte = this.#bytes[this.#offset];
    if (byte === undefined) throw new Error("HPACK: a block that ends too early");
    return byte;
  }

  /** A number whose first bits are the last of the next byte. */
  integer(prefixBits: number): number {
    const mask = 2 ** prefixBits - 1;
    let value = this.peek() & mask;
    this.#offset += 1;
    if (value < mask) return value;
    for (let shift = 0; ; shift += 7) {
      if (shift > 21) throw new Error("HPACK: a number that is too large");
      const byte = this.peek();
      this.#offset += 1;
      value += (byte & 0x7f) << shift;
      if (!(byte & 0x80)) return value;
    }
  }

  text(): string {
    const huffman = (this.peek() & 0x80) !== 0;
    const length = this.integer(7);
    const end = this.#offset + length;
    if (end > this.#bytes.byteLength) throw new Error("HPACK: a string that ends too early");
    const bytes = this.#bytes.subarray(this.#offset, end);
    this.#offset = end;
    if (huffman) return decodeHuffman(bytes);
    return Buffer.from(bytes.buffer, bytes.byteOffset, length).toString("latin1");
  }
}

/** A header block that stands by itself: nothing of it goes into the peer's table. */
export function encodeHeaders(headers: readonly Header[]): Buffer {
  return Buffer.concat(headers.map(encodeHeader));
}

function encodeHeader([name, value]: Header): Buffer {
  const exact = STATIC_TABLE.findIndex(([n, v]) => n === name && v === value && v !== "");
  if (exact >= 0) return integer(exact + 1, 7, 0x80);
  const named = STATIC_TABLE.findIndex(([n]) => n === name);
  const start = integer(named + 1, 4, 0);
  return Buffer.concat(named >= 0 ? [start, text(value)] : [start, text(name), text(value)]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, "latin1");
  return Buffer.concat([integer(bytes.byteLength, 7, 0), bytes]);
}

function integer(value: number, prefixBits: number, flags: number): Buffer {
  const mask = 2 ** prefixBits - 1;
  if (value < mask) return Buffer.of(flags | value);
  const bytes = [flags | mask];
  let rest = value - mask;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}
