import { attributeText, type NetlinkWriter, parseAttributes, parseList } from "./attributes.ts";
import { type NetlinkRequest, NLM_F_ACK, NLM_F_DUMP } from "./message.ts";
import { CREATE, NFGENMSG_BYTES, type NftTable, nftRequest, shown } from "./nftables-requests.ts";

const NFT_MSG_NEWSET = 9;
const NFT_MSG_GETSET = 10;
const NFT_MSG_DELSET = 11;
const NFT_MSG_NEWSETELEM = 12;
const NFT_MSG_GETSETELEM = 13;
const NFT_MSG_DELSETELEM = 14;

const NFTA_SET_NAME = 2;
const NFTA_SET_FLAGS = 3;
const NFTA_SET_KEY_TYPE = 4;
const NFTA_SET_KEY_LEN = 5;
const NFTA_SET_DATA_TYPE = 6;
const NFTA_SET_DATA_LEN = 7;
const NFTA_SET_ID = 10;
const NFTA_SET_USERDATA = 13;
const NFTA_SET_ELEM_LIST_SET = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS = 3;
const NFTA_LIST_ELEM = 1;
const NFTA_SET_ELEM_KEY = 1;
const NFTA_SET_ELEM_DATA = 2;
const NFTA_DATA_VALUE = 1;

const NFT_SET_MAP = 0x8;
/** For nft, which shows the set: a property (0, four bytes) by which its keys are in the host's order, as names are kept. */
const HOST_ORDER_KEYS = Uint8Array.of(0, 4, 1, 0, 0, 0);
/** IFNAMSIZ: a name with zeros after it. */
const IFNAME_BYTES = 16;
/** What an attribute may hold, as its length has 16 bits; with some room for the headers round it. */
const MAX_LIST_BYTES = 65_000;

interface FieldValues {
  readonly ipv4_addr: Uint8Array;
  readonly ipv6_addr: Uint8Array;
  readonly inet_proto: number;
  readonly inet_service: number;
  readonly ifname: string;
}

/** A part of a set's keys or of a map's values, by nft's name. */
export type NftField = keyof FieldValues;

interface FieldType<T> {
  /** By which nft knows it; the kernel only keeps it. */
  readonly number: number;
  readonly bytes: number;
  readonly encode: (value: T) => Uint8Array;
  readonly decode: (bytes: Buffer) => T;
}

const asIs = { encode: (value: Uint8Array) => value, decode: (bytes: Buffer) => Uint8Array.from(bytes) };

const FIELDS: { readonly [F in NftField]: FieldType<FieldValues[F]> } = {
  ipv4_addr: { number: 7, bytes: 4, ...asIs },
  ipv6_addr: { number: 8, bytes: 16, ...asIs },
  inet_proto: {
    ...{ number: 12, bytes: 1 },
    encode: (value) => Uint8Array.of(value),
    decode: (bytes) => bytes.readUInt8(),
  },
  inet_service: {
    ...{ number: 13, bytes: 2 },
    encode: (value) => Uint8Array.of(value >> 8, value & 0xff),
    decode: (bytes) => bytes.readUInt16BE(),
  },
  ifname: {
    ...{ number: 41, bytes: IFNAME_BYTES },
    encode: linkKey,
    decode: (bytes) => attributeText(bytes) ?? "",
  },
};
/** By how much the number of a concatenation is shifted for each further part. */
const FIELD_NUMBER_BITS = 6;

/** An interface's name as a register holds it. */
export function linkKey(name: string): Uint8Array {
  const key = Buffer.alloc(IFNAME_BYTES);
  key.write(name, 0, IFNAME_BYTES - 1);
  return key;
}

type Fields = readonly NftField[];
type Tuple<F extends Fields> = { readonly [I in keyof F]: FieldValues[F[I]] };

/**
 * A set; with a `value` a map. Rules look it up by words of the registers, in which each part starts with a new word:
 * the key `ipv4_addr . inet_service` takes two, and so does such a value.
 */
export interface NftSet<K extends Fields = Fields, V extends Fields = Fields> {
  readonly name: string;
  readonly key: K;
  readonly value?: V;
}

/** What a set, or a map, holds. */
export type NftElement<K extends Fields = Fields, V extends Fields = Fields> = {
  readonly key: Tuple<K>;
} & (V extends readonly [] ? { readonly value?: undefined } : { readonly value: Tuple<V> });

/** A set without elements: `nftSet("ports", ["inet_proto", "inet_service"])`. */
export function nftSet<const K extends Fields>(name: string, key: K): NftSet<K, []> {
  return { name, key };
}

/** A map without elements: `nftMap("ports", ["inet_proto", "inet_service"], ["ipv4_addr", "inet_service"])`. */
export function nftMap<const K extends Fields, const V extends Fields>(
  name: string,
  key: K,
  value: V,
): NftSet<K, V> {
  return { name, key, value };
}

const padded = (bytes: number): number => (bytes + 3) & ~3;
const typeOf = (fields: Fields): number =>
  fields.reduce((number, field) => (number << FIELD_NUMBER_BITS) | FIELDS[field].number, 0);
/** One part keeps its length, several are padded to words. */
const lengthOf = (fields: Fields): number => {
  const [only, ...others] = fields;
  if (only !== undefined && others.length === 0) return FIELDS[only].bytes;
  return fields.reduce((length, field) => length + padded(FIELDS[field].bytes), 0);
};

function encodeTuple(fields: Fields, values: readonly unknown[]): Uint8Array {
  const tuple = new Uint8Array(lengthOf(fields));
  let offset = 0;
  for (const [index, name] of fields.entries()) {
    const field = FIELDS[name] as FieldType<unknown>;
    const bytes = field.encode(values[index]);
    if (bytes.byteLength !== field.bytes) throw new RangeError(`not ${name}: ${bytes.byteLength} bytes`);
    tuple.set(bytes, offset);
    offset += padded(field.bytes);
  }
  return tuple;
}

/** Undefined for what isn't as long as the fields say. */
function decodeTuple(fields: Fields, tuple: Buffer): FieldValues[NftField][] | undefined {
  if (tuple.byteLength !== lengthOf(fields)) return undefined;
  let offset = 0;
  return fields.map((name) => {
    const { bytes, decode } = FIELDS[name];
    const value = decode(tuple.subarray(offset, offset + bytes));
    offset += padded(bytes);
    return value;
  });
}

/**
 * Add a set or a map, if there is none of this name.
 *
 * @param id that no other set of the transaction has
 */
export function addSet(table: NftTable, { name, key, value }: NftSet, id: number): NetlinkRequest {
  const kind = value ? "map" : "set";
  return nftRequest(NFT_MSG_NEWSET, `add ${kind} ${shown(table)} ${name}`, CREATE, table, (writer) => {
    writer
      .attributeString(NFTA_SET_NAME, name)
      .attributeU32Be(NFTA_SET_FLAGS, value ? NFT_SET_MAP : 0)
      .attributeU32Be(NFTA_SET_KEY_TYPE, typeOf(key))
      .attributeU32Be(NFTA_SET_KEY_LEN, lengthOf(key));
    if (value)
      writer
        .attributeU32Be(NFTA_SET_DATA_TYPE, typeOf(value))
        .attributeU32Be(NFTA_SET_DATA_LEN, lengthOf(value));
    writer.attributeU32Be(NFTA_SET_ID, id);
    if (key.length === 1 && key[0] === "ifname") writer.attributeBytes(NFTA_SET_USERDATA, HOST_ORDER_KEYS);
  });
}

/** Delete a set or a map that no rule looks up. */
export function deleteSet(table: NftTable, name: string): NetlinkRequest {
  return nftRequest(NFT_MSG_DELSET, `delete set ${shown(table)} ${name}`, NLM_F_ACK, table, (writer) =>
    writer.attributeString(NFTA_SET_NAME, name),
  );
}

/**
 * Add elements to a set or a map, as many as there are: one request for each 1,400 or so. One that is there already is no
 * error, unless it maps to something else.
 */
export function addElements<K extends Fields, V extends Fields>(
  table: NftTable,
  set: NftSet<K, V>,
  elements: readonly NftElement<K, V>[],
): NetlinkRequest[] {
  return elementRequests(NFT_MSG_NEWSETELEM, `add to set ${shown(table)} ${set.name}`, CREATE, {
    table,
    set,
    elements,
  });
}

/** Delete elements by their keys, as many as there are. One that isn't there is an error. */
export function deleteElements<K extends Fields, V extends Fields>(
  table: NftTable,
  set: NftSet<K, V>,
  keys: readonly Tuple<K>[],
): NetlinkRequest[] {
  const elements = keys.map((key) => ({ key }));
  return elementRequests(NFT_MSG_DELSETELEM, `delete from set ${shown(table)} ${set.name}`, NLM_F_ACK, {
    table,
    set: { name: set.name, key: set.key },
    elements,
  });
}

/** Delete all elements of a set or a map. */
export function flushSet(table: NftTable, name: string): NetlinkRequest {
  const what = `flush set ${shown(table)} ${name}`;
  return nftRequest(NFT_MSG_DELSETELEM, what, NLM_F_ACK, table, (writer) =>
    writer.attributeString(NFTA_SET_ELEM_LIST_SET, name),
  );
}

interface Elements {
  readonly table: NftTable;
  readonly set: NftSet;
  readonly elements: readonly {
    readonly key: readonly unknown[];
    readonly value?: readonly unknown[] | undefined;
  }[];
}

function elementRequests(message: number, what: string, flags: number, all: Elements): NetlinkRequest[] {
  const { table, set, elements } = all;
  // Headers: of the element, its key, the key's value; and the same of what it maps to.
  const bytes = 12 + padded(lengthOf(set.key)) + (set.value ? 8 + padded(lengthOf(set.value)) : 0);
  const count = Math.floor(MAX_LIST_BYTES / bytes);
  const requests: NetlinkRequest[] = [];
  for (let start = 0; start < elements.length; start += count) {
    const some = elements.slice(start, start + count);
    requests.push(
      nftRequest(message, what, flags, table, (writer) =>
        writer
          .attributeString(NFTA_SET_ELEM_LIST_SET, set.name)
          .nest(NFTA_SET_ELEM_LIST_ELEMENTS, (list) => writeElements(list, set, some)),
      ),
    );
  }
  return requests;
}

function writeElements(writer: NetlinkWriter, { key, value }: NftSet, elements: Elements["elements"]): void {
  for (const element of elements) {
    const keyBytes = encodeTuple(key, element.key);
    const valueBytes = value && element.value && encodeTuple(value, element.value);
    writer.nest(NFTA_LIST_ELEM, (list) => {
      list.nest(NFTA_SET_ELEM_KEY, (data) => data.attributeBytes(NFTA_DATA_VALUE, keyBytes));
      if (valueBytes)
        list.nest(NFTA_SET_ELEM_DATA, (data) => data.attributeBytes(NFTA_DATA_VALUE, valueBytes));
    });
  }
}

/**
 * Add a set of names of interfaces.
 *
 * @param id that no other set of the transaction has
 */
export function addLinkSet(table: NftTable, name: string, id: number): NetlinkRequest {
  return addSet(table, nftSet(name, ["ifname"]), id);
}

/** Add names of interfaces, one at least and a thousand at most, to a set of such. */
export function addSetLinks(table: NftTable, set: string, links: readonly string[]): NetlinkRequest {
  const elements = links.map((name) => ({ key: [name] as const }));
  const [request, ...others] = addElements(table, nftSet(set, ["ifname"]), elements);
  if (!request || others.length > 0) throw new RangeError(`${links.length} names for one request`);
  return request;
}

export function getSet(table: NftTable, set: string): NetlinkRequest {
  return nftRequest(NFT_MSG_GETSET, `get set ${shown(table)} ${set}`, NLM_F_ACK, table, (writer) =>
    writer.attributeString(NFTA_SET_NAME, set),
  );
}

/** The elements of one set. */
export function listSet(table: NftTable, set: string): NetlinkRequest {
  return nftRequest(NFT_MSG_GETSETELEM, `list set ${shown(table)} ${set}`, NLM_F_DUMP, table, (writer) =>
    writer.attributeString(NFTA_SET_ELEM_LIST_SET, set),
  );
}

/** The elements in the body of an answer to `listSet`, copied out of it; without those that are of another type. */
export function parseElements<K extends Fields, V extends Fields>(
  body: Uint8Array,
  { key: keyFields, value: valueFields }: NftSet<K, V>,
): NftElement<K, V>[] {
  const list = parseAttributes(body.subarray(NFGENMSG_BYTES)).get(NFTA_SET_ELEM_LIST_ELEMENTS);
  return parseList(list ?? new Uint8Array()).flatMap((element) => {
    const attributes = parseAttributes(element);
    const key = decodeTuple(keyFields, dataOf(attributes.get(NFTA_SET_ELEM_KEY)));
    const value = valueFields && decodeTuple(valueFields, dataOf(attributes.get(NFTA_SET_ELEM_DATA)));
    if (!key || (valueFields && !value)) return [];
    return { key, ...(value && { value }) } as unknown as NftElement<K, V>;
  });
}

/** The names of interfaces in the body of an answer to `listSet`. */
export function parseSetLinks(body: Uint8Array): string[] {
  const list = parseAttributes(body.subarray(NFGENMSG_BYTES)).get(NFTA_SET_ELEM_LIST_ELEMENTS);
  return parseList(list ?? new Uint8Array()).flatMap(
    (element) => attributeText(dataOf(parseAttributes(element).get(NFTA_SET_ELEM_KEY))) || [],
  );
}

function dataOf(data: Uint8Array | undefined): Buffer {
  const value = parseAttributes(data ?? new Uint8Array()).get(NFTA_DATA_VALUE) ?? new Uint8Array();
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}
