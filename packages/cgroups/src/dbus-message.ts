// Messages of the D-Bus protocol (https://dbus.freedesktop.org/doc/dbus-specification.html), as much as talking to systemd needs.

/** A value with its type, for places where the message says the type itself. */
export interface Variant {
  signature: string;
  value: Value;
}

/** u, i, q, n, y, b as numbers (b: 0 or 1), x and t as bigint, s, o, g as strings, arrays and structures as lists. */
export type Value = number | bigint | string | boolean | Value[] | Variant;

export const METHOD_CALL = 1;
export const METHOD_RETURN = 2;
export const ERROR = 3;
export const SIGNAL = 4;

/** Header fields by number. */
const FIELDS = [
  "",
  "path",
  "interface",
  "member",
  "errorName",
  "replySerial",
  "destination",
  "sender",
  "signature",
] as const;
const FIELD_TYPES = ["", "o", "s", "s", "s", "u", "s", "s", "g"];

export interface Message {
  type: number;
  serial: number;
  path?: string;
  interface?: string;
  member?: string;
  errorName?: string;
  replySerial?: number;
  destination?: string;
  sender?: string;
  signature?: string;
  body: Value[];
}

/** The first complete type of a signature, and the rest. */
function splitType(signature: string): [type: string, rest: string] {
  const first = signature[0] ?? "";
  if (first === "a") {
    const [element, rest] = splitType(signature.slice(1));
    return [`a${element}`, rest];
  }
  if (first !== "(" && first !== "{") return [first, signature.slice(1)];
  let depth = 0;
  for (let at = 0; at < signature.length; at++) {
    if (signature[at] === "(" || signature[at] === "{") depth++;
    if (signature[at] === ")" || signature[at] === "}") depth--;
    if (depth === 0) return [signature.slice(0, at + 1), signature.slice(at + 1)];
  }
  throw new RangeError(`D-Bus: signature ${signature} has no end`);
}

function typesOf(signature: string): string[] {
  const types: string[] = [];
  for (let rest = signature; rest !== ""; ) {
    const [type, more] = splitType(rest);
    types.push(type);
    rest = more;
  }
  return types;
}

function alignmentOf(type: string): number {
  const first = type[0] ?? "";
  if ("ygv".includes(first)) return 1;
  if ("nq".includes(first)) return 2;
  if ("xtd({".includes(first)) return 8;
  return 4;
}

/** Writes values, little endian. */
class Writer {
  #bytes = Buffer.alloc(1024);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  align(to: number): void {
    const next = Math.ceil(this.#length / to) * to;
    this.#grow(next - this.#length);
    this.#length = next;
  }

  #grow(by: number): void {
    if (this.#length + by <= this.#bytes.length) return;
    const larger = Buffer.alloc((this.#length + by) * 2);
    this.#bytes.copy(larger);
    this.#bytes = larger;
  }

  uint(value: number): void {
    this.align(4);
    this.#grow(4);
    this.#length = this.#bytes.writeUInt32LE(value >>> 0, this.#length);
  }

  byte(value: number): void {
    this.#grow(1);
    this.#length = this.#bytes.writeUInt8(value & 255, this.#length);
  }

  put(type: string, value: Value): void {
    this.align(alignmentOf(type));
    const first = type[0] ?? "";
    if (first === "y") this.byte(Number(value));
    else if ("bui".includes(first)) this.uint(Number(value));
    else if ("xt".includes(first)) this.#long(BigInt(value as bigint));
    else if ("so".includes(first)) {
      this.uint(Buffer.byteLength(String(value)));
      this.#text(String(value));
    } else if (first === "g") {
      this.byte(Buffer.byteLength(String(value)));
      this.#text(String(value));
    } else if (first === "v") {
      const { signature, value: inner } = value as Variant;
      this.put("g", signature);
      this.put(signature, inner);
    } else if (first === "a") this.#array(type.slice(1), value as Value[]);
    else if ("({".includes(first)) this.#members(typesOf(type.slice(1, -1)), value as Value[]);
    else throw new RangeError(`D-Bus: can't write type ${type}`);
  }

  #members(types: readonly string[], values: readonly Value[]): void {
    for (const [index, type] of types.entries()) this.put(type, values[index] ?? 0);
  }

  #long(value: bigint): void {
    this.#grow(8);
    this.#length = this.#bytes.writeBigUInt64LE(BigInt.asUintN(64, value), this.#length);
  }

  #text(text: string): void {
    const size = Buffer.byteLength(text);
    this.#grow(size + 1);
    this.#bytes.write(text, this.#length);
    this.#bytes[this.#length + size] = 0;
    this.#length += size + 1;
  }

  #array(element: string, values: readonly Value[]): void {
    this.uint(0);
    const size = this.#length - 4;
    // The padding before the first element doesn't count.
    this.align(alignmentOf(element));
    const start = this.#length;
    for (const value of values) this.put(element, value);
    this.#bytes.writeUInt32LE(this.#length - start, size);
  }
}

/** Reads values; a message may be in either byte order. */
class Reader {
  readonly #bytes: Buffer;
  readonly #little: boolean;
  #at: number;

  constructor(bytes: Buffer, little: boolean, at = 0) {
    this.#bytes = bytes;
    this.#little = little;
    this.#at = at;
  }

  uint(): number {
    this.#align(4);
    const value = this.#little ? this.#bytes.readUInt32LE(this.#at) : this.#bytes.readUInt32BE(this.#at);
    this.#at += 4;
    return value;
  }

  get(type: string): Value {
    this.#align(alignmentOf(type));
    const first = type[0] ?? "";
    if (first === "y") return this.#byte();
    if (first === "b" || first === "u") return this.uint();
    if (first === "i") return this.uint() | 0;
    if (first === "q" || first === "n") return this.#short();
    if (first === "t") return this.#long();
    if (first === "x") return BigInt.asIntN(64, this.#long());
    if (first === "s" || first === "o") return this.#text(this.uint());
    if (first === "g") return this.#text(this.#byte());
    if (first === "v") {
      const signature = String(this.get("g"));
      return { signature, value: this.get(signature) };
    }
    if (first === "a") return this.#array(type.slice(1));
    if (first === "(" || first === "{") return typesOf(type.slice(1, -1)).map((member) => this.get(member));
    throw new RangeError(`D-Bus: can't read type ${type}`);
  }

  #align(to: number): void {
    this.#at = Math.ceil(this.#at / to) * to;
  }

  #byte(): number {
    return this.#bytes.readUInt8(this.#at++);
  }

  #short(): number {
    const value = this.#little ? this.#bytes.readUInt16LE(this.#at) : this.#bytes.readUInt16BE(this.#at);
    this.#at += 2;
    return value;
  }

  #long(): bigint {
    const value = this.#little
      ? this.#bytes.readBigUInt64LE(this.#at)
      : this.#bytes.readBigUInt64BE(this.#at);
    this.#at += 8;
    return value;
  }

  #text(size: number): string {
    const text = this.#bytes.toString("utf8", this.#at, this.#at + size);
    this.#at += size + 1;
    return text;
  }

  #array(element: string): Value[] {
    const size = this.uint();
    this.#align(alignmentOf(element));
    const end = this.#at + size;
    const values: Value[] = [];
    while (this.#at < end) values.push(this.get(element));
    return values;
  }
}

const isLittle = (bytes: Buffer) => bytes[0] === 0x6c;

/** A message as bytes. */
export function encodeMessage(message: Message): Buffer {
  const body = new Writer();
  for (const [index, type] of typesOf(message.signature ?? "").entries()) {
    body.put(type, message.body[index] ?? 0);
  }
  const header = new Writer();
  for (const byte of [0x6c, message.type, 0, 1]) header.byte(byte);
  header.uint(body.length);
  header.uint(message.serial);
  const fields: Value[] = [];
  for (const [number, name] of FIELDS.entries()) {
    const value = name === "" ? undefined : message[name];
    if (value !== undefined && value !== "") {
      fields.push([number, { signature: FIELD_TYPES[number] ?? "", value }]);
    }
  }
  header.put("a(yv)", fields);
  header.align(8);
  return Buffer.concat([header.bytes, body.bytes]);
}

/** Bytes of the message that starts here, once its first 16 are there. */
export function messageSize(bytes: Buffer): number | undefined {
  if (bytes.length < 16) return undefined;
  const body = new Reader(bytes, isLittle(bytes), 4).uint();
  const fields = new Reader(bytes, isLittle(bytes), 12).uint();
  return Math.ceil((16 + fields) / 8) * 8 + body;
}

/** A message from bytes of {@link messageSize}. */
export function decodeMessage(bytes: Buffer): Message {
  const little = isLittle(bytes);
  const bodySize = new Reader(bytes, little, 4).uint();
  const reader = new Reader(bytes, little, 8);
  const message: Message = { type: bytes.readUInt8(1), serial: reader.uint(), body: [] };
  for (const [number, { value }] of reader.get("a(yv)") as [number, Variant][]) {
    const name = FIELDS[number];
    if (name) Object.assign(message, { [name]: value });
  }
  const body = new Reader(bytes.subarray(bytes.length - bodySize), little);
  for (const type of typesOf(message.signature ?? "")) message.body.push(body.get(type));
  return message;
}
