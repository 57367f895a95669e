/**
 * The codec behind `gen-compact/`: the same messages as `gen/`, byte for byte, from a line of text for each instead of functions of its
 * own. Slower, and a third of a megabyte smaller in a process that uses a few dozen, for each function costs about a kilobyte.
 *
 * The text has a word for each field, `<number>:<kind>:<name>`. A kind is a letter below, before it perhaps `*` for repeated, `?` for
 * optional, `%` for a map from strings; `m` has behind it the number of the message among those given.
 */
interface Field {
  name: string;
  number: number;
  form: "" | "*" | "?" | "%";
  kind: string;
  /** The kind of a map's values. */
  of: Message | undefined;
}

type Values = Record<string, unknown>;

const VARINT = 0;
const EIGHT_BYTES = 1;
const LENGTH = 2;
const FOUR_BYTES = 5;

/** Wire types: string, bytes, message; bool, enum, int32, uint32, int64, uint64; double. */
const WIRE_TYPE: Record<string, number> = {
  ...{ s: LENGTH, y: LENGTH, m: LENGTH },
  ...{ b: VARINT, e: VARINT, i: VARINT, u: VARINT, I: VARINT, U: VARINT },
  d: EIGHT_BYTES,
};

/** Larger than this it is not kept for the next message. */
const KEPT_BYTES = 16384;

// What is being read, and what has been written. Nothing here is asynchronous.
const NOTHING = Buffer.alloc(0);
let input: Uint8Array = NOTHING;
let at = 0;
let output: Buffer = NOTHING;
let size = 0;

/** A message's codec, as `MessageFns` of the other generated modules. */
export class Message {
  readonly #text: string;
  readonly #messages: readonly Message[];
  #parsed: Field[] | undefined;

  constructor(text: string, messages: readonly Message[] = []) {
    this.#text = text;
    this.#messages = messages;
  }

  /** In the order of their numbers; taken apart when first needed. */
  get fields(): readonly Field[] {
    this.#parsed ??= this.#text.split(" ").flatMap((word) => {
      const [, number, form, kind = "", of, name = ""] =
        /^(\d+):([*?%]?)([a-zA-Z])(\d*):(\w+)$/.exec(word) ?? [];
      if (number === undefined) return [];
      const message = kind === "m" ? this.#messages[Number(of)] : undefined;
      return [{ name, number: Number(number), form: form as Field["form"], kind, of: message }];
    });
    return this.#parsed;
  }

  encode(message: object): { finish(): Uint8Array } {
    size = 0;
    writeFields(this, message as Values);
    const bytes = Buffer.from(output.subarray(0, size));
    if (output.length > KEPT_BYTES) output = NOTHING;
    return { finish: () => bytes };
  }

  decode(bytes: Uint8Array): Values {
    input = bytes;
    at = 0;
    try {
      return readFields(this, bytes.length);
    } finally {
      input = NOTHING;
    }
  }

  create(partial: Values = {}): Values {
    return this.fromPartial(partial);
  }

  fromPartial(partial: Values): Values {
    const whole: Values = {};
    for (const field of this.fields) whole[field.name] = completed(field, partial[field.name]);
    return whole;
  }
}

function completed(field: Field, value: unknown): unknown {
  const { form, of } = field;
  if (value === undefined || value === null) return emptyOf(field);
  if (of === undefined) return form === "*" ? [...(value as unknown[])] : form === "%" ? { ...value } : value;
  if (form === "*") return (value as Values[]).map((one) => of.fromPartial(one));
  if (form !== "%") return of.fromPartial(value as Values);
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, of.fromPartial(one as Values)]));
}

function emptyOf({ form, kind }: Field): unknown {
  if (form === "*") return [];
  if (form === "%") return {};
  return form === "?" ? undefined : zeroOf(kind);
}

function zeroOf(kind: string): unknown {
  if (kind === "m") return undefined;
  if (kind === "s") return "";
  if (kind === "b") return false;
  if (kind === "y") return Buffer.alloc(0);
  return kind === "I" || kind === "U" ? 0n : 0;
}

function readFields(message: Message, end: number): Values {
  const values: Values = {};
  for (const field of message.fields) values[field.name] = emptyOf(field);
  while (at < end) {
    const tag = readVarint();
    const field = message.fields.find(({ number }) => number === tag >>> 3);
    if (field) readField(field, tag & 7, values);
    else skip(tag & 7);
  }
  return values;
}

function readField({ name, form, kind, of }: Field, wireType: number, values: Values): void {
  const expected = form === "%" ? LENGTH : WIRE_TYPE[kind];
  if (form === "*" && wireType === LENGTH && expected !== LENGTH) {
    // Numbers one after the other, packed.
    for (const end = lengthEnd(); at < end; ) (values[name] as unknown[]).push(readValue(kind, of));
  } else if (wireType !== expected) {
    skip(wireType);
  } else if (form === "*") {
    (values[name] as unknown[]).push(readValue(kind, of));
  } else if (form === "%") {
    readEntry(kind, of, values[name] as Values);
  } else {
    values[name] = readValue(kind, of);
  }
}

function readEntry(kind: string, of: Message | undefined, map: Values): void {
  let key = "";
  let value = of ? of.fromPartial({}) : zeroOf(kind);
  for (const end = lengthEnd(); at < end; ) {
    const tag = readVarint();
    if (tag === 8 + LENGTH) key = readValue("s", undefined) as string;
    else if (tag === 16 + (WIRE_TYPE[kind] ?? LENGTH)) value = readValue(kind, of);
    else skip(tag & 7);
  }
  map[key] = value;
}

function readValue(kind: string, of: Message | undefined): unknown {
  if (of) return readFields(of, lengthEnd());
  if (kind === "s" || kind === "y") {
    const end = lengthEnd();
    const bytes = Buffer.from(input.subarray(at, end));
    at = end;
    return kind === "s" ? bytes.toString("utf8") : bytes;
  }
  if (kind === "d") {
    const bytes = Buffer.from(input.subarray(at, advance(8)));
    return bytes.readDoubleLE(0);
  }
  if (kind === "b") return readBigVarint() !== 0n;
  if (kind === "U") return BigInt.asUintN(64, readBigVarint());
  if (kind === "I") return BigInt.asIntN(64, readBigVarint());
  const low = Number(readBigVarint() & 0xffffffffn);
  return kind === "u" ? low : low | 0;
}

/** The end of what has its length before it. */
function lengthEnd(): number {
  const length = readVarint();
  if (at + length > input.length) throw new RangeError("premature EOF");
  return at + length;
}

/** Tags and lengths. */
function readVarint(): number {
  return Number(readBigVarint() & 0xffffffffn);
}

function readBigVarint(): bigint {
  let low = 0;
  let value = 0n;
  for (let shift = 0; shift < 70; shift += 7) {
    const byte = input[at++];
    if (byte === undefined) throw new RangeError("premature EOF");
    // Nearly all are small.
    if (shift < 28) low |= (byte & 127) << shift;
    else value |= BigInt(byte & 127) << BigInt(shift);
    if (byte < 128) return value | BigInt(low);
  }
  throw new Error("invalid varint");
}

function skip(wireType: number): void {
  if (wireType === VARINT) readBigVarint();
  else if (wireType === LENGTH) at = lengthEnd();
  else if (wireType === EIGHT_BYTES) advance(8);
  else if (wireType === FOUR_BYTES) advance(4);
  else throw new Error(`wire type ${wireType} is not supported`);
}

function advance(bytes: number): number {
  at += bytes;
  if (at > input.length) throw new RangeError("premature EOF");
  return at;
}

function writeFields(message: Message, values: Values): void {
  for (const field of message.fields) {
    const value = values[field.name];
    if (value !== undefined && value !== null) writeField(field, value);
  }
}

function writeField({ number, form, kind, of }: Field, value: unknown): void {
  if (form === "%") {
    for (const [key, one] of Object.entries(value as Values)) {
      writeVarint(number * 8 + LENGTH);
      withLength(() => {
        if (key !== "") writeTagged(1, "s", undefined, key);
        if (!isZero(kind, one)) writeTagged(2, kind, of, one);
      });
    }
  } else if (form === "*" && WIRE_TYPE[kind] !== LENGTH) {
    if ((value as unknown[]).length === 0) return;
    writeVarint(number * 8 + LENGTH);
    withLength(() => {
      for (const one of value as unknown[]) writeValue(kind, of, one);
    });
  } else if (form === "*") {
    for (const one of value as unknown[]) writeTagged(number, kind, of, one);
  } else if (form === "?" || !isZero(kind, value)) {
    writeTagged(number, kind, of, value);
  }
}

function isZero(kind: string, value: unknown): boolean {
  if (kind === "m") return false;
  return kind === "y" ? (value as Uint8Array).length === 0 : value === zeroOf(kind);
}

function writeTagged(number: number, kind: string, of: Message | undefined, value: unknown): void {
  writeVarint(number * 8 + (WIRE_TYPE[kind] ?? LENGTH));
  writeValue(kind, of, value);
}

function writeValue(kind: string, of: Message | undefined, value: unknown): void {
  if (of) {
    withLength(() => writeFields(of, value as Values));
  } else if (kind === "s") {
    const length = Buffer.byteLength(value as string);
    writeVarint(length);
    reserve(length);
    size += output.write(value as string, size);
  } else if (kind === "y") {
    const bytes = value as Uint8Array;
    writeVarint(bytes.length);
    reserve(bytes.length);
    output.set(bytes, size);
    size += bytes.length;
  } else if (kind === "d") {
    reserve(8);
    size = output.writeDoubleLE(value as number, size);
  } else if (typeof value === "bigint") {
    const [least, most] = kind === "I" ? [-(2n ** 63n), 2n ** 63n - 1n] : [0n, 2n ** 64n - 1n];
    if (value < least || value > most) throw new RangeError(`${value} has more than 64 bits`);
    writeVarint(value);
  } else {
    writeVarint(Number(value));
  }
}

/** Write something with its length before it. */
function withLength(write: () => void): void {
  const start = size;
  write();
  const length = size - start;
  writeVarint(length);
  const prefix = Buffer.from(output.subarray(start + length, size));
  output.copyWithin(start + prefix.length, start, start + length);
  output.set(prefix, start);
}

/** Negative ones as the 64 bits that they are. */
function writeVarint(value: number | bigint): void {
  reserve(10);
  let rest = value;
  if (rest < 0 || rest > 0x7fffffff) {
    let wide = BigInt.asUintN(64, BigInt(rest));
    for (; wide > 127n; wide >>= 7n) output[size++] = Number(wide & 127n) | 128;
    output[size++] = Number(wide);
    return;
  }
  for (rest = Number(rest); rest > 127; rest >>>= 7) output[size++] = (rest & 127) | 128;
  output[size++] = rest;
}

function reserve(bytes: number): void {
  if (size + bytes <= output.length) return;
  const grown = Buffer.alloc(Math.max(1024, 2 * (size + bytes)));
  output.copy(grown, 0, 0, size);
  output = grown;
}

interface Method {
  name: string;
  requestType: Message;
  requestStream: boolean;
  responseType: Message;
  responseStream: boolean;
}

/**
 * A service as the other generated modules describe it.
 *
 * @param methods in the order of the text's words: `<Name>`, with `>` before it for a stream of requests and behind it for one of
 * responses; two messages for each, the request and the response
 */
export function service(fullName: string, text: string, methods: readonly Message[]) {
  const entries = text.split(" ").map((word, index): [string, Method] => {
    const name = word.replaceAll(">", "");
    const [requestType, responseType] = methods.slice(2 * index) as [Message, Message];
    const streams = { requestStream: word.startsWith(">"), responseStream: word.endsWith(">") };
    return [name.charAt(0).toLowerCase() + name.slice(1), { name, requestType, responseType, ...streams }];
  });
  return {
    name: fullName.slice(fullName.lastIndexOf(".") + 1),
    fullName,
    methods: Object.fromEntries(entries) as Record<string, Method>,
  };
}
