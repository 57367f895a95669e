const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;
const HEADER_BYTES = 4;

/** The length rounded up to the 4-byte alignment of netlink. */
export const align = (length: number): number => (length + 3) & ~3;

const swap32 = (value: number): number =>
  ((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24);

/** Builds the bytes of netlink messages: fixed structures by `u8`…`bytes`, attributes by name. Little-endian hosts only. */
export class NetlinkWriter {
  #buffer: Buffer;
  #length = 0;

  constructor(capacity = 1024) {
    this.#buffer = Buffer.from(new ArrayBuffer(capacity));
  }

  get length(): number {
    return this.#length;
  }

  /** What has been written; a view, valid until the next write. */
  get written(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  u8(value: number): this {
    const start = this.#take(1);
    this.#buffer.writeUInt8(value, start);
    return this;
  }

  u16(value: number): this {
    const start = this.#take(2);
    this.#buffer.writeUInt16LE(value, start);
    return this;
  }

  u32(value: number): this {
    const start = this.#take(4);
    this.#buffer.writeUInt32LE(value >>> 0, start);
    return this;
  }

  i32(value: number): this {
    const start = this.#take(4);
    this.#buffer.writeInt32LE(value, start);
    return this;
  }

  bytes(value: Uint8Array): this {
    const start = this.#take(value.byteLength);
    this.#buffer.set(value, start);
    return this;
  }

  /** Zeros up to the next multiple of four. */
  pad(): this {
    const start = this.#take(align(this.#length) - this.#length);
    this.#buffer.fill(0, start, this.#length);
    return this;
  }

  /** Overwrite a u32 written before. */
  setU32(offset: number, value: number): void {
    this.#buffer.writeUInt32LE(value, offset);
  }

  attributeBytes(type: number, value: Uint8Array): this {
    return this.u16(HEADER_BYTES + value.byteLength)
      .u16(type)
      .bytes(value)
      .pad();
  }

  attributeU8(type: number, value: number): this {
    return this.u16(HEADER_BYTES + 1)
      .u16(type)
      .u8(value)
      .pad();
  }

  attributeU16(type: number, value: number): this {
    return this.u16(HEADER_BYTES + 2)
      .u16(type)
      .u16(value)
      .pad();
  }

  attributeU32(type: number, value: number): this {
    return this.u16(HEADER_BYTES + 4)
      .u16(type)
      .u32(value);
  }

  /** For the protocols whose numbers are in network order. */
  attributeU32Be(type: number, value: number): this {
    return this.attributeU32(type, swap32(value));
  }

  attributeU64Be(type: number, value: bigint): this {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(value);
    return this.attributeBytes(type, bytes);
  }

  /** A string with its closing zero. */
  attributeString(type: number, value: string): this {
    return this.attributeBytes(type, Buffer.from(`${value}\0`));
  }

  /** An attribute holding what `fill` writes. */
  nest(type: number, fill: (writer: this) => void): this {
    const start = this.#length;
    this.u16(0).u16(type | NLA_F_NESTED);
    fill(this);
    this.#buffer.writeUInt16LE(this.#length - start, start);
    return this.pad();
  }

  /** Room at the end, its start. Call it before looking at the buffer, which it may replace. */
  #take(count: number): number {
    const start = this.#length;
    this.#length += count;
    if (this.#length > this.#buffer.byteLength) {
      const larger = Buffer.from(new ArrayBuffer(Math.max(this.#length, 2 * this.#buffer.byteLength)));
      larger.set(this.#buffer.subarray(0, start));
      this.#buffer = larger;
    }
    return start;
  }
}

/** The attributes in `bytes` by type, flags taken off; of a repeated type the last. Views, not copies. */
export function parseAttributes(bytes: Uint8Array): Map<number, Uint8Array> {
  return new Map(eachAttribute(bytes));
}

/** The contents of the attributes in `bytes`, whose types don't matter. Views, not copies. */
export function parseList(bytes: Uint8Array): Uint8Array[] {
  return Array.from(eachAttribute(bytes), ([, value]) => value);
}

function* eachAttribute(bytes: Uint8Array): Generator<[type: number, value: Uint8Array]> {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let offset = 0; offset + HEADER_BYTES <= view.byteLength; ) {
    const length = view.readUInt16LE(offset);
    if (length < HEADER_BYTES || offset + length > view.byteLength) break;
    const type = view.readUInt16LE(offset + 2) & NLA_TYPE_MASK;
    yield [type, view.subarray(offset + HEADER_BYTES, offset + length)];
    offset += align(length);
  }
}

/** The text of a string attribute without its closing zero. */
export function attributeText(value: Uint8Array | undefined): string | undefined {
  if (value === undefined) return undefined;
  const end = value.indexOf(0);
  return Buffer.from(end < 0 ? value : value.subarray(0, end)).toString();
}

/** The number of a u32 attribute in the host's order. */
export function attributeNumber(value: Uint8Array | undefined): number | undefined {
  if (value === undefined || value.byteLength < 4) return undefined;
  return Buffer.from(value.buffer, value.byteOffset, 4).readUInt32LE();
}

/** The number of a u32 attribute in network order. */
export function attributeNumberBe(value: Uint8Array | undefined): number | undefined {
  if (value === undefined || value.byteLength < 4) return undefined;
  return Buffer.from(value.buffer, value.byteOffset, 4).readUInt32BE();
}
